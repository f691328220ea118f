"""What the merge of two people with long pasts costs: in identity, and in segments behind it."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.identity.people import NAME, NAME_END, START_US, TENANT, digits, prints
from services.chassis.core import Message
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


def merge_ms(events: int, devices: int, seed: int) -> tuple[float, float]:
    """(ms in identity, ms in segments) of joining two people with so many events each.

    Each came over so many devices; segments holds both pasts and judges no segment.
    """
    rng = np.random.default_rng(seed)
    identity, segments = IdentityCore(TENANT, 1), SegmentsCore(TENANT, 0, 1)
    cookies = prints(rng, 2 * devices)
    sequence = 0

    def step(ids: list[list[tuple[int, np.ndarray, bytes]]]) -> tuple[float, float]:
        nonlocal sequence
        sequence += 1
        at_us = START_US + sequence * 1_000_000
        message = Message(0, "", sequence, at_us, rows(rng, ids, at_us - 500, sequence * 1_000))
        began = time.perf_counter()
        facts = identity.step([message], at_us)
        between = time.perf_counter()
        told = [Message(0, "", sequence, at_us, body) for body in facts.bodies[0]]
        segments.step(told, at_us)
        return between - began, time.perf_counter() - between

    def device(number: int) -> tuple[int, np.ndarray, bytes]:
        return 2, cookies[number], b"c-%06d" % number

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
    print(
        f"merge of two people with {events:,} events over {devices} devices each: "
        f"{in_identity * 1e3:.2f} ms in identity, {in_segments * 1e3:.2f} ms in segments"
    )
    return in_identity * 1e3, in_segments * 1e3
