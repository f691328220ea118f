"""Kernels answer what the domain says: tests over values, filters over properties, texts."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from services.segments.domain import times
from services.segments.domain.sentences import sentence_of
from services.segments.domain.values import (
    DATE,
    DECIMAL,
    FLAG,
    TEXT,
    TIME,
    WHOLE,
    Op,
    Scalar,
    decimal_text,
    number_of_text,
    satisfies,
)
from services.segments.domain.values import Test as Question
from services.segments.engine.language.patterns import element_satisfies
from services.segments.engine.store.predicates import TestTable as Questions
from services.segments.engine.store.predicates import accepts
from services.segments.engine.store.texts import BIG_NUMERIC, NOT_NUMERIC, Texts
from tests.unit.segments.world import World

INT_MAX = 2**63 - 1
WRITTEN = [
    "", "10", "10.0", "-0.5", "+7", "1e3", "1e-3", "abc", "ABC", "Straße", "STRASSE", "é", "é",
    "2026-05-31", "2026-05-31T12:00:00Z", "9223372036854775808", "0.1234567890123456789",
    "123456789012345678901234567890.5", ".5", "5.", "1,5", " 10", "٣",
]  # fmt: skip
NUMBERS = [
    (0, 0), (10, 0), (100, 1), (-5, 1), (1, 18), (INT_MAX, 0), (-INT_MAX - 1, 0), (INT_MAX, 18),
    (999_995, 3), (1_000, 0),
]  # fmt: skip
SCALARS = [
    *(Scalar(TEXT, text) for text in WRITTEN),
    *(Scalar(DECIMAL if e else WHOLE, units=u, exponent=e) for u, e in NUMBERS),
    Scalar(FLAG, units=0), Scalar(FLAG, units=1),
    Scalar(TIME, units=0), Scalar(TIME, units=1_780_228_800_000_000),
    Scalar(TIME, units=1_780_185_600_000_000), Scalar(DATE, "2026-05-31"),
]  # fmt: skip
ONE = [Op.EQ, Op.EQ_CI, Op.GT, Op.GTE, Op.LT, Op.LTE, Op.IN]
OF_TEXT = [Op.CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH, Op.MATCHES]


def every_test() -> list[Question]:
    tests = [Question(op, (value,), "Europe/Kyiv") for op in ONE for value in SCALARS]
    tests += [Question(Op.BETWEEN, pair) for pair in itertools.product(SCALARS, SCALARS[::7])]
    tests += [Question(Op.IN, pair) for pair in itertools.combinations(SCALARS[::3], 2)]
    for op in OF_TEXT:
        tests += [Question(op, (Scalar(TEXT, text),)) for text in ("1", "a", "ß", "é", "^A", "0")]
    moments = [value for value in SCALARS if value.kind in (TIME, DATE)]
    moments += [Scalar(TEXT, "2026-05-31"), Scalar(TEXT, "2026-05-31T12:00:00+03:00")]
    for op in (Op.BEFORE, Op.AFTER):
        tests += [Question(op, (value,), zone) for value in moments for zone in ("", "Europe/Kyiv")]
    return [*tests, Question(Op.EXISTS)]


def test_a_kernel_accepts_exactly_what_satisfies() -> None:
    texts = Texts()
    table = Questions(texts)
    tests = [(test, table.number_of(test)) for test in every_test()]
    for value in SCALARS:
        if value.kind == DATE:
            continue
        raw = texts.number_of(value.text) if value.kind == TEXT else value.units
        for test, number in tests:
            while True:
                found = bool(accepts(table.view(), number, value.kind, value.exponent, raw))
                if table.answered():
                    break
            assert found == (not value.missing and element_satisfies(test, value)), (test, value)


@pytest.mark.parametrize("text", WRITTEN)
def test_the_number_of_a_text_is_exact(text: str) -> None:
    texts = Texts()
    number = texts.number_of(text)
    exact, exponent = number_of_text(text), int(texts.exponents[number])
    if exact is None:
        assert exponent == NOT_NUMERIC
    elif exponent != BIG_NUMERIC:
        assert Fraction(int(texts.units[number]), 10**exponent) == exact


def test_texts_that_are_equal_in_nfc_are_one_to_equality() -> None:
    texts = Texts()
    one, other = texts.number_of("e\u0301"), texts.number_of("\u00e9")
    assert one != other
    assert texts.canonical[one] == texts.canonical[other]


def test_a_hundred_thousand_texts_keep_their_numbers() -> None:
    texts = Texts()
    words = [f"word {n}" for n in range(100_000)]
    raw = [word.encode() for word in words]
    pool = np.frombuffer(b"".join(raw), np.uint8)
    ends = np.cumsum([len(one) for one in raw]).astype(np.uint32)
    first, again = texts.intern(pool, ends), texts.intern(pool, ends)
    assert first.tolist() == again.tolist()
    assert len(set(first.tolist())) == len(words)
    assert texts.text_of(int(first[77_777])) == words[77_777]


def test_negative_operators_are_the_plain_negation_also_over_lists() -> None:
    both = [Scalar(TEXT, "a"), Scalar(TEXT, "b")]
    a = (Scalar(TEXT, "a"),)
    assert not satisfies(Question(Op.NE, a), both)
    assert satisfies(Question(Op.NE, a), [])
    assert satisfies(Question(Op.NE, a), [Scalar(TEXT, "")])
    assert satisfies(Question(Op.ALL, (*a, Scalar(TEXT, "b"))), both)
    assert not satisfies(Question(Op.ALL, (*a, Scalar(TEXT, "c"))), both)


def test_a_filter_with_groups_and_list_elements() -> None:
    world = World()
    world.define(
        "bulk",
        {
            "event": {
                "type": "order",
                "where": {
                    "any": [
                        {"none": [{"city": "Kyiv"}, {"city": "Lviv"}]},
                        {
                            "any_item": {
                                "path": "lines",
                                "where": {"sku": "x", "quantity": {"gt": 2}},
                            }
                        },
                    ]
                },
                "window": "last 1 second",
            }
        },
    )
    stories = [
        ({"city": "Odesa"}, True),
        ({"city": "Kyiv"}, False),
        (
            {
                "city": "Kyiv",
                "lines__sku": ["x", "y"],
                "lines__quantity": [Fraction(1), Fraction(5)],
            },
            False,
        ),
        (
            {
                "city": "Kyiv",
                "lines__sku": ["y", "x"],
                "lines__quantity": [Fraction(1), Fraction(5)],
            },
            True,
        ),
    ]
    for place, (properties, holds) in enumerate(stories):
        world.event(10 * place, **properties)
        said = [one[3] for one in world.until(10 * place + 5)]
        assert said == (["in", "out"] if holds else []), properties


def test_a_property_looked_up_by_text_is_found_in_any_element_and_only_once() -> None:
    world = World()
    rule = {"type": "order", "where": {"tag": ["spring", "summer"]}, "window": "last 5 seconds"}
    world.define("seasonal", {"event": rule | {"count": {"eq": 1}}})
    world.define("others", {"event": rule | {"where": {"tag": "autumn"}}})
    world.event(1, tag=["summer", "spring"])
    assert [said[2:4] for said in world.until(3)] == [("seasonal", "in")]


def test_a_new_type_of_event_reaches_prefixes_and_rules_about_any_event() -> None:
    world = World()
    world.define("app", {"event": {"type_prefix": "app_", "window": "last 5 seconds"}})
    quiet = world.definition("quiet", {"not": {"event": {"type": "x", "window": "last 9 seconds"}}})
    getattr(quiet.condition, "not").event.events.ClearField("types")
    world.engine.define(quiet, world.us(0))
    world.until(1)
    world.event(2, "app_never_seen_before")
    assert [said[:4] for said in world.until(20)] == [
        (2, 0, "app", "in"), (2, 0, "quiet", "out"), (7, 0, "app", "out"), (11, 0, "quiet", "in"),
    ]  # fmt: skip


def test_a_local_time_in_a_gap_is_the_first_instant_after_it() -> None:
    zone = times.zone_of("Europe/Kyiv")
    gap = times.instant_of_text("2026-03-29T03:30:00", zone)
    assert gap == times.instant_of_text("2026-03-29T01:00:00Z", zone)
    twice = times.instant_of_text("2026-10-25T03:30:00", zone)
    assert twice == times.instant_of_text("2026-10-25T00:30:00Z", zone)


def test_decimal_text_is_exact() -> None:
    assert decimal_text(Fraction(1, 8)) == "0.125"
    assert decimal_text(Fraction(-1999, 100)) == "-19.99"
    assert decimal_text(Fraction(1200)) == "1200"
    assert decimal_text(Fraction(1, 3)) == "0.333333333333…"


def test_a_rule_reads_as_a_sentence() -> None:
    world = World()
    rule = {
        "all": [
            {"attribute": {"name": "city", "eq": "Kyiv"}},
            {"not": {"event": {"type": "order", "window": "last 30 days"}}},
            {"any": [{"channel": "web_push"}, {"segment": "a"}]},
            {
                "event": {
                    "type": "order",
                    "sum": {"of": "amount", "gte": 1000},
                    "window": "last 90 days",
                }
            },
        ]
    }
    world.define("a", {"everyone": {}})
    definition = world.definition("b", rule)
    assert sentence_of(world.engine.definitions.read(definition.condition, "")) == (
        "city is “Kyiv” and did no order in the last 30 days and (reachable by web push or in "
        "segment a) and sum amount of order in the last 90 days is at least 1000"
    )


def test_texts_taken_over_mean_what_they_meant_and_go_on() -> None:
    texts, words = Texts(), [*WRITTEN, "e\u0301", "\u00e9", "1e3", *(f"w{n}" for n in range(99))]
    for word in words:
        texts.number_of(word)
    again = Texts()
    again.take_over(texts.count, *(column.copy() for column in texts.dump().values()))
    assert [again.number_of(word) for word in words] == [texts.number_of(word) for word in words]
    assert again.number_of("new") == texts.number_of("new") == texts.count - 1
    for name in ("units", "exponents", "canonical"):
        mine, theirs = getattr(again, name), getattr(texts, name)
        assert mine[: again.count].tolist() == theirs[: texts.count].tolist(), name
