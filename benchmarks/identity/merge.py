"""What the merge of two people with long pasts costs: in identity, and in segments behind it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.identity.people import NAME, NAME_END, START_US, TENANT, digits, prints
from cli.conditions import read_condition
from muster.segments.v1.facts_pb2 import SegmentDefined
from muster.types.v1.condition_pb2 import Condition
from services.chassis import subjects
from services.chassis.core import Facts, Message
from services.identity.adapters.wire import EVENT_COLUMNS
from services.identity.core import IdentityCore
from services.segments.core import SegmentsCore

STEP_ROWS = 500


def rows(
    rng: np.random.Generator, ids: list[list[tuple[int, np.ndarray, bytes]]], at_us: int, first: int
) -> bytes:
    """A message of EVENTS. ids: (number of the kind's name, print, text) of each row."""
    flat = [one for row in ids for one in row]
    n = len(ids)
    return EVENT_COLUMNS.encode(
        {
            "rows": n,
            "name": NAME,
            "name_end": NAME_END,
            "event_print": prints(rng, n).ravel(),
            "type": np.zeros(n, np.uint32),
            "occur_time_us": at_us + np.arange(n),
            "send_time_us": at_us + np.arange(n),
            "accept_time_us": np.full(n, at_us + n),
            "id_end": np.cumsum([len(row) for row in ids]),
            "id_kind": [kind for kind, _, _ in flat],
            "id_print": np.concatenate([words for _, words, _ in flat]),
            "id_text": b"".join(text for _, _, text in flat),
            "id_text_end": np.cumsum([len(text) for _, _, text in flat]),
            "event_id": digits(np.arange(first, first + n), b"e-").ravel(),
            "event_id_end": np.arange(14, 14 * n + 1, 14),
            "row_flags": np.zeros(n, np.uint8),
        }
    )


def counting(number: int, events: int) -> Condition:
    """One of many rules that add up what both people did; many flip when they become one."""
    views = {"type": "page_viewed", "window": f"last {1 + number % 90} days"}
    if number % 2:
        return read_condition({"not": {"event": {**views, "count": {"gte": 1 + number}}}})
    at_least = round(events * (0.5 + number / 100))
    return read_condition({"event": {**views, "count": {"gte": at_least}}})


def about_a_past(number: int, events: int) -> Condition:
    """One of many rules for which a whole past is read again."""
    del events
    views = {"type": "page_viewed", "window": f"last {1 + number} days"}
    if number % 2:
        return read_condition({"event": {**views, "distinct_days": {"gte": 1 + number % 3}}})
    steps = [{"type": "page_viewed"}] * 3
    return read_condition({"sequence": {"steps": steps, "within": f"{1 + number} minutes"}})


Rule = Callable[[int, int], Condition]


def merge_ms(
    events: int, devices: int, seed: int, rules: int, rule: Rule = counting
) -> tuple[float, float]:
    """(ms of CPU in identity, in segments) of joining two people with so many events each.

    Each came over so many devices; segments holds both pasts, keeps up so many segments of a
    kind, and says who entered and left by the merge.
    """
    rng = np.random.default_rng(seed)
    identity, segments = IdentityCore(TENANT, 1), SegmentsCore(TENANT, 0, 1)
    cookies = prints(rng, 2 * devices)
    sequence = 0
    said: list[Facts] = []

    def step(ids: list[list[tuple[int, np.ndarray, bytes]]]) -> tuple[float, float]:
        nonlocal sequence
        sequence += 1
        at_us = START_US + sequence * 1_000_000
        return take(Message(0, "", sequence, at_us, rows(rng, ids, at_us - 500, sequence * 1_000)))

    def take(message: Message) -> tuple[float, float]:
        at_us = message.time_us
        began = time.process_time()
        facts = identity.step([message], at_us)
        between = time.process_time()
        told = [Message(0, "", message.sequence, at_us, body) for body in facts.bodies[0]]
        said.append(segments.step(told, at_us))
        return between - began, time.process_time() - between

    def device(number: int) -> tuple[int, np.ndarray, bytes]:
        return 2, cookies[number], b"c-%06d" % number

    for number in range(rules):
        sequence += 1
        defined = SegmentDefined(
            segment_id=f"s-{number}",
            segment_number=number + 1,
            version=1,
            condition=rule(number, events),
        )
        subject = subjects.control(TENANT, "segment")
        take(Message(1, subject, sequence, START_US, defined.SerializeToString()))
    for person in (0, 1):
        mine = [person * devices + number for number in range(devices)]
        step([[device(mine[0]), device(number)] for number in mine[1:]])
        for _ in range(events // STEP_ROWS):
            step([[device(mine[int(n)])] for n in rng.integers(0, devices, STEP_ROWS)])
    if identity.chronicle.count:
        raise AssertionError("they were one too early")
    in_identity, in_segments = step([[device(0), device(devices)]])
    if identity.chronicle.counts != {1: 1}:
        raise AssertionError("they did not become one")
    moved = sum(map(len, said[-1].bodies.get(0, [])))
    print(
        f"merge of two people with {events:,} events over {devices} devices each, {rules} segments "
        f"{rule.__name__.replace('_', ' ')}: "
        f"{in_identity * 1e3:.2f} ms in identity, {in_segments * 1e3:.2f} ms in segments "
        f"({moved:,} bytes of transitions)"
    )
    return in_identity * 1e3, in_segments * 1e3
