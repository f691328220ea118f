"""A wish said twice: the same request_id asks for the same again, or is refused."""

from __future__ import annotations

from google.protobuf.message import Message

from services.chassis.errors import InvalidRequest

_BOOKKEEPING = (
    "define_time", "version", "segment_number", "request_id", "author", "note", "revision",
)  # fmt: skip


def content(wish: Message) -> bytes:
    """What a definition says, without who, when and which number."""
    bare = type(wish)()
    bare.CopyFrom(wish)
    for field in _BOOKKEEPING:
        if field in bare.DESCRIPTOR.fields_by_name:
            bare.ClearField(field)
    return bytes(bare.SerializeToString(deterministic=True))


def other_wish(version: int, name: str) -> InvalidRequest:
    """The refusal of a request_id that was used for a version of something else."""
    text = (
        f"was used for version {version} of {name}, which says something else; a new wish needs a "
        "new request_id"
    )
    return InvalidRequest([("request_id", text)])
