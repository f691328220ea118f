"""A YAML document as a message of the contracts, field by field, with durations as people write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from cli.problems import Problem
from cli.reading import Node, TreeFaults, read_document

M = TypeVar("M", bound=Message)
DECIMAL = re.compile(r"-?\d+(\.\d+)?")


def read_message(file: Path, message: M) -> M:
    """Fills a message from a YAML file; its keys are the contract's fields.

    A Duration may be `90 days`, a Decimal `19.99`, an enum its short name. Problem names the file
    and the place.
    """
    try:
        tree = read_document(file.read_text())
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}") from None
    except TreeFaults as wrong:
        raise Problem(f"{file}: {wrong}") from None
    node = Node(tree)
    plain = _plain(node, message.DESCRIPTOR)
    if node.faults:
        raise Problem(f"{file}:\n" + "\n".join(f"  {p}: {m}" for p, m in node.faults))
    try:
        return ParseDict(plain, message)
    except ParseError as wrong:
        raise Problem(f"{file}: {wrong}") from None


def _plain(node: Node, descriptor: Any) -> Any:
    """The tree as protobuf's JSON mapping wants it."""
    if descriptor.full_name == "google.protobuf.Duration":
        return f"{node.duration_us() / 1_000_000:.6f}s"
    if descriptor.full_name == "muster.types.v1.Decimal" and not isinstance(node.tree, dict):
        return _decimal(node)
    fields = {field.name: field for field in descriptor.fields}
    return {
        key: _value(node.at(key), fields[key])
        for key in node.keys(set(fields), f"a {descriptor.name}")
    }


def _decimal(node: Node) -> dict[str, Any]:
    text = str(node.tree)
    if isinstance(node.tree, bool) or not DECIMAL.fullmatch(text):
        node.fault(f"must be a number, not {node.tree!r}")
        return {}
    _, _, part = text.partition(".")
    return {"units": text.replace(".", ""), "exponent": len(part)}


def _value(node: Node, field: Any) -> Any:
    map_entry = field.message_type is not None and field.message_type.GetOptions().map_entry
    if map_entry:
        return dict(node.tree) if isinstance(node.tree, dict) else node.tree
    if field.is_repeated:
        return [_single(item, field) for item in node.items()]
    return _single(node, field)


def _single(node: Node, field: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _plain(node, field.message_type)
    if field.type == FieldDescriptor.TYPE_ENUM:
        names = {value.name for value in field.enum_type.values}
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        wanted = prefix + str(node.tree).upper().replace(" ", "_").replace("-", "_")
        if wanted not in names:
            short = sorted(n.removeprefix(prefix).lower() for n in names)
            node.fault(f"must be one of {', '.join(s for s in short if s != 'unspecified')}")
            return 0
        return wanted
    return node.tree
