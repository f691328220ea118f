"""How fast identity resolves rows: known and new identifiers, and the cost of a step by its rows.

Rows carry two identifiers (a user id and a cookie) and eight properties, about 330 B as columns;
times are CPU of this process, decoding and encoding included. Known rows arrive disturbed: 2 % are
an hour late, all others jittered. The last line is JSON.

    python -m benchmarks.identity_resolve [--identifiers 1000000] [--seconds 5] [--seed 7]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator

import numpy as np

from services.chassis import subjects
from services.chassis.core import Message
from services.identity.adapters.wire import EVENT_COLUMNS
from services.identity.core import IdentityCore, warm

TENANT = "bench"
START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
STEP_ROWS = 500
NAMES = [
    "page_viewed",
    "user_id",
    "cookie",
    *(f"property_{i}" for i in range(8)),
]
TEXTS = [f"/category/{i}/product" for i in range(50)]


def pool(texts: list[str]) -> tuple[bytes, np.ndarray]:
    raw = [text.encode() for text in texts]
    return b"".join(raw), np.cumsum([len(r) for r in raw]).astype(np.uint32)


NAME, NAME_END = pool(NAMES)
TEXT, TEXT_END = pool(TEXTS)


def prints(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(1, 1 << 63, (n, 2)).astype(np.uint64)


def digits(numbers: np.ndarray, prefix: bytes) -> np.ndarray:
    """(n, len) bytes: prefix and twelve digits of each number."""
    out = np.empty((len(numbers), len(prefix) + 12), np.uint8)
    out[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    for place in range(12):
        out[:, len(prefix) + 11 - place] = 48 + numbers // 10**place % 10
    return out


class People:
    """Persons with a user id and a cookie each, and messages about them."""

    def __init__(self, persons: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.users, self.cookies = prints(self.rng, persons), prints(self.rng, persons)
        self.sent = 0

    def message(self, persons: np.ndarray, occur_us: np.ndarray, accept_us: int) -> Message:
        n = len(persons)
        ids = np.empty((n, 2, 2), np.uint64)
        ids[:, 0], ids[:, 1] = self.users[persons], self.cookies[persons]
        texts = np.stack([digits(persons, b"u-"), digits(persons, b"c-")], axis=1)
        event_ids = digits(np.arange(self.sent, self.sent + n), b"e-")
        body = EVENT_COLUMNS.encode(
            {
                "rows": n,
                "name": NAME,
                "name_end": NAME_END,
                "text": TEXT,
                "text_end": TEXT_END,
                "event_print": prints(self.rng, n).ravel(),
                "type": np.zeros(n, np.uint32),
                "occur_time_us": occur_us,
                "send_time_us": occur_us,
                "accept_time_us": np.full(n, accept_us),
                "id_end": np.arange(2, 2 * n + 1, 2),
                "id_kind": np.tile(np.array([1, 2], np.uint32), n),
                "id_print": ids.ravel(),
                "id_text": texts.ravel(),
                "id_text_end": np.arange(14, 14 * (2 * n) + 1, 14),
                "prop_end": np.arange(8, 8 * n + 1, 8),
                "prop_key": np.tile(np.arange(3, 11, dtype=np.uint32), n),
                "prop_kind": np.tile(np.array([1, 1, 2, 2, 2, 3, 4, 5], np.uint8), n),
                "prop_value": self.rng.integers(0, len(TEXTS), 8 * n),
                "prop_exponent": np.zeros(8 * n, np.uint8),
                "event_id": event_ids.ravel(),
                "event_id_end": np.arange(14, 14 * n + 1, 14),
                "row_flags": np.zeros(n, np.uint8),
            }
        )
        self.sent += n
        return Message(0, subjects.events(TENANT), self.sent, accept_us, body)


def new_rows(people: People, persons: int, clock_us: int) -> Iterator[Message]:
    for start in range(0, persons, STEP_ROWS):
        rows = np.arange(start, min(start + STEP_ROWS, persons))
        accept_us = clock_us + start * 10
        yield people.message(rows, accept_us - people.rng.integers(0, 80_000, len(rows)), accept_us)


def known_rows(people: People, rows: int, clock_us: int) -> Iterator[Message]:
    at = 0
    while True:
        accept_us = clock_us + at * 10 * rows
        occur_us = accept_us - people.rng.integers(0, 80_000, rows)
        late = people.rng.random(rows) < 0.02
        occur_us[late] -= people.rng.integers(0, HOUR_US, rows)[late]
        yield people.message(people.rng.integers(0, len(people.users), rows), occur_us, accept_us)
        at += 1


def timed(core: IdentityCore, messages: list[Message]) -> tuple[float, int]:
    """(CPU seconds, bytes said) of a step for each message."""
    said = 0
    began = time.process_time()
    for message in messages:
        facts = core.step([message], message.time_us)
        said += sum(len(body) for bodies in facts.bodies.values() for body in bodies)
    return time.process_time() - began, said


def measure(core: IdentityCore, messages: Iterator[Message], seconds: float) -> tuple[float, int]:
    """(CPU us per step of each message, steps) over at least so many seconds."""
    spent, steps = 0.0, 0
    while spent < seconds:
        chunk = [next(messages) for _ in range(100)]
        spent += timed(core, chunk)[0]
        steps += len(chunk)
    return spent / steps * 1e6, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--identifiers", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--partitions", type=int, default=1)
    options = parser.parse_args()
    persons = options.identifiers // 2
    print(f"{options.identifiers:,} identifiers of {persons:,} persons, seed {options.seed}")
    began = time.perf_counter()
    warm()
    print(f"warm: {time.perf_counter() - began:.2f} s")
    core = IdentityCore(TENANT, options.partitions)
    people = People(persons, options.seed)
    spent = said = 0.0
    slowest = 0.0
    for message in new_rows(people, persons, START_US):
        seconds, size = timed(core, [message])
        spent, said, slowest = spent + seconds, said + size, max(slowest, seconds)
    new_per_s = persons / spent
    print(
        f"new:   {new_per_s:,.0f} events/s ({spent / persons * 1e6:.2f} us/event, "
        f"{said / persons:.0f} B/event out, slowest step {slowest * 1e3:.1f} ms)"
    )
    step_us = {}
    for rows in (50, 500, 1_500):
        visits = core.visit_count
        us, steps = measure(
            core, known_rows(people, rows, START_US + HOUR_US * 24), options.seconds
        )
        step_us[rows] = us
        print(
            f"known: {rows / us * 1e6:,.0f} events/s in steps of {rows:,} rows "
            f"({us:.0f} us/step, {us / rows:.2f} us/event, "
            f"{(core.visit_count - visits) / steps:.1f} rows a step decided one by one)"
        )
    began = time.process_time()
    dumped = core.dump()
    dump_s = time.process_time() - began
    size = sum(len(v) if isinstance(v, bytes) else v.nbytes for v in dumped.values())
    began = time.process_time()
    views = {k: memoryview(v if isinstance(v, bytes) else v.tobytes()) for k, v in dumped.items()}
    IdentityCore(TENANT, options.partitions).load(views)
    load_s = time.process_time() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"dump {dump_s * 1e3:.0f} ms, {size / 1e6:.0f} MB; load {load_s:.2f} s")
    print(f"peak {peak_mb:,.0f} MB, messages of the benchmark included")
    print(
        json.dumps(
            {
                "identifiers": options.identifiers,
                "new_events_per_s_per_core": round(new_per_s),
                "known_events_per_s_per_core": round(500 / step_us[500] * 1e6),
                "us_per_event_by_step_rows": {
                    rows: round(us / rows, 3) for rows, us in step_us.items()
                },
                "slowest_new_step_ms": round(slowest * 1e3, 1),
                "dump_ms": round(dump_s * 1e3),
                "load_s": round(load_s, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
