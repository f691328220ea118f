"""A definition goes back to the document it was read from."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict

from cli.definitions import read_definition, read_definitions
from cli.reading import read_document
from cli.writing import document_of, write_definition
from muster.segments.v1.facts_pb2 import ListRule, SegmentDefined
from services.segments.domain.sentences import sentence_of
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import Reader
from tests.contract.sources import ROOT

DOCUMENTS = [
    "{segment: a, condition: {event: x}}",
    "{segment: a, name: Ünïcode ✓, zone: Europe/Kyiv, tags: [b, a], condition: {channel: email}}",
    "{segment: a, shadow_of: b, condition: {channel: email}}",
    "{segment: a, triggers: {reasons: [event, late event]}, condition: {channel: email}}",
    "{segment: a, triggers: {cool_down: 90 minutes, reentry: false}, condition: {channel: email}}",
    "{segment: a, triggers: {reentry: true, variant_set: v, migrates_from: b},"
    " condition: {any: [{segment: b}]}}",
    "{segment: 'true', name: '2026-01-01', tags: ['1', 'null'], condition: {segment: 'no'}}",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_definition_is_written_as_it_was_read(document: str) -> None:
    request = read_definition(read_document(document), "demo")
    defined = SegmentDefined(
        segment_id=request.segment_id,
        name=request.name,
        zone=request.zone,
        tags=request.tags,
        shadow_of=request.shadow_of,
        condition=request.condition,
        triggers=request.triggers if request.HasField("triggers") else None,
        version=7,
        author="ada",
        note="why",
    )
    text = document_of(write_definition(defined))
    assert read_definition(read_document(text), "demo") == request


def test_a_list_is_no_rule() -> None:
    defined = SegmentDefined(segment_id="vip", list=ListRule())
    with pytest.raises(ValueError, match="vip is a list"):
        write_definition(defined)


def test_exact_numbers_instants_and_texts_that_look_like_others_stay_what_they_are() -> None:
    values = [
        {"decimal": {"units": "1", "exponent": 18}},
        {"decimal": {"units": "-9007199254740993", "exponent": 2}},
        {"decimal": {"units": "5", "exponent": 0}},
        {"whole": "-9223372036854775808"},
        {"time": "2026-05-01T10:00:00.000001Z"},
        {"date": "2000-02-29"},
        {"flag": False},
        *({"text": text} for text in ("1", "1.0", "true", "null", "2000-02-29", "", "~", "a: b")),
        {"text": "2026-05-01T10:00:00Z"},
        {"text": "line\nbreak \u2028 ☃"},
    ]
    test = {"op": "OPERATOR_IN", "values": values}
    rule = {"attribute": {"attribute": "a", "test": test}}
    defined = ParseDict({"segmentId": "a", "condition": rule}, SegmentDefined())
    text = document_of(write_definition(defined))
    assert read_definition(read_document(text), "").condition == defined.condition


def test_every_example_is_a_rule_with_a_sentence() -> None:
    files = sorted((ROOT / "examples" / "segments").glob("*.yaml"))
    said = {}
    for file in files:
        for request in read_definitions(file, "demo"):
            reader = Reader(request.zone, lambda _: None, EngineLimits())
            node = reader.node(request.condition)
            assert reader.faults == [], (file, request.segment_id)
            said[request.segment_id] = sentence_of(node)
    assert len(said) > 15
    assert len(set(said.values())) == len(said)
