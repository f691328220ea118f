"""docs/events.md shows the vocabulary as the code has it."""

from __future__ import annotations

from pathlib import Path

from services.ingest.domain.schemas import STANDARD
from services.ingest.domain.vocabulary import GA4_EVENTS, PROPERTIES, SEGMENT_EVENTS

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]


def names(cell: str) -> set[str]:
    return {name.strip().strip("`") for name in cell.split(",") if name.strip()}


def test_the_names_of_others_are_those_of_the_code() -> None:
    begin = PAGE.index("| ours | Segment | GA4 |")
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE[begin:].split("\n\n")[0].splitlines()[2:]
    ]
    said = {(theirs, row[0].strip("`")) for row in table for theirs in names(row[1])}
    assert said == set(SEGMENT_EVENTS.items())
    said = {(theirs, row[0].strip("`")) for row in table for theirs in names(row[2])}
    assert said == set(GA4_EVENTS.items())


def test_the_properties_are_those_of_the_code() -> None:
    for theirs, ours in PROPERTIES.items():
        assert [f"`{theirs}`", f"`{ours}`"] in ROWS, theirs


def test_the_vocabulary_is_that_of_the_code() -> None:
    begin = PAGE.index("| type | is | properties |")
    table = PAGE[begin:].split("\n\n")[0].splitlines()[2:]
    said = {}
    for line in table:
        kind, _, properties = (cell.strip() for cell in line.strip("|").split("|"))
        said[kind.strip("`")] = {one.strip() for one in properties.split(",") if one.strip()}
    assert said == {
        name: {
            f"`{rule.key}` {rule.kind.name.lower()}{'!' if rule.required else ''}"
            for rule in schema.rules
        }
        for name, schema in STANDARD.items()
    }
