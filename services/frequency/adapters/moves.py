"""What PROFILES says about ids of profiles that became one person, or several again.

A step is mostly events, which are passed over without being parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from muster.identity.v1 import facts_pb2 as identity
from services.chassis.columns import ColumnCodec, shadow_of
from services.chassis.public_ids import text_of

_STEP = shadow_of(identity.ProfileStep)
_ENTRY = shadow_of(identity.ProfileEntry)
_CREATED = ColumnCodec(identity.ProfilesCreated)


class Said(NamedTuple):
    """An id stands for another profile from now on; into: empty when for itself.

    at: place in identity's order, the same in whatever partition it was read.
    """

    profile_id: str
    into: str
    at: int


def said_in(body: bytes) -> Iterator[Said]:
    """What one message of PROFILES says of ids, in order. Raises DecodeError."""
    if not body:
        return
    for raw in _STEP.FromString(body).entries:
        entry = _ENTRY.FromString(raw)
        which = entry.WhichOneof("entry")
        if which == "moved":
            yield from _moved(identity.AtomsMoved.FromString(entry.moved))
        elif which == "created":
            yield from _renamed(entry.created)


def _moved(moved: identity.AtomsMoved) -> Iterator[Said]:
    source, target = moved.from_public_id, moved.to_public_id
    if not (source and target) or source == target:
        # Written before moves named ids: nothing is known of them.
        return
    at = 2 * moved.order
    yield Said(text_of(target), "", at)
    if moved.merge:
        yield Said(text_of(source), text_of(target), at)


def _renamed(body: bytes) -> Iterator[Said]:
    columns = _CREATED.decode(body)
    former_ids = columns["former_public_id"].tolist()
    if not any(former_ids):
        return
    at = 2 * columns["order"]
    for former, public_id in zip(former_ids, columns["public_id"].tolist(), strict=True):
        if former and former != public_id:
            yield Said(text_of(former), text_of(public_id), at)
        if former:
            # Whoever bears an id now stands for itself, whatever else had it before.
            yield Said(text_of(public_id), "", at + 1)
