"""Rules in protobuf's text format, as the engine's reader finds them."""

from __future__ import annotations

from google.protobuf import text_format

from cli.conditions import read_condition
from cli.reading import read_document
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import Reader

KNOWN = {"big-spenders", "vip"}
Faults = list[tuple[str, str]]


def known(name: str) -> str | None:
    return None if name in KNOWN else f"there is no {name!r}"


def read(text: str, zone: str = "") -> tuple[rule.Node, Faults]:
    """The normal form of a Condition in text format, and its faults."""
    return read_message(text_format.Parse(text, pb.Condition()), zone)


def read_message(condition: pb.Condition, zone: str = "") -> tuple[rule.Node, Faults]:
    reader = Reader(zone, known, EngineLimits())
    return reader.node(condition), reader.faults


def said(friendly: str, zone: str = "") -> rule.Node:
    """The normal form of a friendly rule, which must be right."""
    node, faults = read_message(read_condition(read_document(friendly)), zone)
    assert faults == [], faults
    return node


def wrong(text: str, zone: str = "") -> list[str]:
    """Its faults as `path: message`."""
    return [f"{path}: {message}" for path, message in read(text, zone)[1]]


def assert_faults(text: str, expected: list[str]) -> None:
    """One fault for each expected one, in order, each beginning with `path: ` and what to do."""
    found = wrong(text)
    assert len(found) == len(expected), found
    for fault, beginning in zip(found, expected, strict=True):
        assert fault.startswith(beginning), found
