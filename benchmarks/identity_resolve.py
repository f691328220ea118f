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


class Homecomings:
    """People who come anonymously on two devices and log in on each: every one is a merge."""

    def __init__(self, persons: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.people = People(persons, seed + 1)
        self.others = prints(self.rng, persons)

    def messages(self, shuffled: bool) -> list[Message]:
        """Five events a person: a cookie, a login with it, another cookie, a login, the user."""
        n = len(self.others)
        person = np.repeat(np.arange(n), 5)
        what = np.tile(np.arange(5), n)
        occur_us = START_US + what * 1_000_000 + person
        order = np.argsort(self.rng.random(len(person)) if shuffled else occur_us, kind="stable")
        return [
            self.message(person[part], what[part], occur_us[part])
            for part in np.array_split(order, max(1, len(order) // STEP_ROWS))
        ]

    def message(self, person: np.ndarray, what: np.ndarray, occur_us: np.ndarray) -> Message:
        users, cookies, others = self.people.users, self.people.cookies, self.others
        ids: list[tuple[int, np.ndarray, bytes]] = []
        ends = []
        for who, which in zip(person.tolist(), what.tolist(), strict=True):
            if which in (1, 3, 4):
                ids.append((1, users[who], b"u-%012d" % who))
            if which in (0, 1):
                ids.append((2, cookies[who], b"c-%012d" % who))
            if which in (2, 3):
                ids.append((2, others[who], b"o-%012d" % who))
            ends.append(len(ids))
        n = len(person)
        accept_us = START_US + HOUR_US
        body = EVENT_COLUMNS.encode(
            {
                "rows": n,
                "name": NAME,
                "name_end": NAME_END,
                "event_print": prints(self.rng, n).ravel(),
                "type": np.zeros(n, np.uint32),
                "occur_time_us": occur_us,
                "send_time_us": occur_us,
                "accept_time_us": np.full(n, accept_us),
                "id_end": ends,
                "id_kind": [kind for kind, _, _ in ids],
                "id_print": np.concatenate([words for _, words, _ in ids]),
                "id_text": b"".join(text for _, _, text in ids),
                "id_text_end": np.arange(14, 14 * len(ids) + 1, 14),
                "event_id": digits(person * 5 + what, b"e-").ravel(),
                "event_id_end": np.arange(14, 14 * n + 1, 14),
                "row_flags": np.zeros(n, np.uint8),
            }
        )
        return Message(0, subjects.events(TENANT), 1, accept_us, body)


def homecomings(persons: int, seed: int, partitions: int) -> dict[str, float]:
    """us per event when one row in five merges two profiles; in order, and in no order."""
    figures = {}
    for shuffled in (False, True):
        core = IdentityCore(TENANT, partitions)
        messages = Homecomings(persons, seed).messages(shuffled)
        spent, _ = timed(core, messages)
        us = spent / core.row_count * 1e6
        name = "shuffled" if shuffled else "in_order"
        figures[name] = round(us, 2)
        print(
            f"merges, {name}: {1e6 / us:,.0f} events/s ({us:.1f} us/event, {core.chronicle.counts.get(1, 0):,} "
            f"merges, {core.visit_count / core.row_count:.0%} of rows decided one by one)"
        )
    return figures


def snapshot(core: IdentityCore) -> tuple[float, float]:
    """CPU seconds of a dump, and of loading it."""
    began = time.process_time()
    dumped = core.dump()
    dump_s = time.process_time() - began
    size = sum(len(v) if isinstance(v, bytes) else v.nbytes for v in dumped.values())
    views = {k: memoryview(v if isinstance(v, bytes) else v.tobytes()) for k, v in dumped.items()}
    began = time.process_time()
    IdentityCore(TENANT, core.partitions).load(views)
    load_s = time.process_time() - began
    print(f"dump {dump_s * 1e3:.0f} ms, {size / 1e6:.0f} MB; load {load_s:.2f} s")
    return dump_s, load_s


def newcomers(core: IdentityCore, people: People) -> tuple[float, float]:
    """(events/s, slowest step in ms) while every row brings two new identifiers."""
    persons = len(people.users)
    spent = said = slowest = 0.0
    for message in new_rows(people, persons, START_US):
        seconds, size = timed(core, [message])
        spent, said, slowest = spent + seconds, said + size, max(slowest, seconds)
    print(
        f"new:   {persons / spent:,.0f} events/s ({spent / persons * 1e6:.2f} us/event, "
        f"{said / persons:.0f} B/event out, slowest step {slowest * 1e3:.1f} ms)"
    )
    return persons / spent, slowest * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--identifiers", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--partitions", type=int, default=1)
    options = parser.parse_args()
    print(f"{options.identifiers:,} identifiers, two a person, seed {options.seed}")
    began = time.perf_counter()
    warm()
    print(f"warm: {time.perf_counter() - began:.2f} s")
    core = IdentityCore(TENANT, options.partitions)
    people = People(options.identifiers // 2, options.seed)
    new_per_s, slowest_ms = newcomers(core, people)
    us_by_rows = {}
    for rows in (50, 500, 1_500):
        messages = known_rows(people, rows, START_US + HOUR_US * 24)
        us, _ = measure(core, messages, options.seconds)
        us_by_rows[rows] = round(us / rows, 3)
        print(
            f"known: {rows / us * 1e6:,.0f} events/s in steps of {rows:,} rows "
            f"({us:.0f} us/step, {us / rows:.2f} us/event)"
        )
    dump_s, load_s = snapshot(core)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
    merging = homecomings(20_000, options.seed, options.partitions)
    print(
        json.dumps(
            {
                "identifiers": options.identifiers,
                "new_events_per_s_per_core": round(new_per_s),
                "known_events_per_s_per_core": round(1e6 / us_by_rows[500]),
                "us_per_event_by_step_rows": us_by_rows,
                "us_per_event_merging": merging,
                "slowest_new_step_ms": round(slowest_ms, 1),
                "dump_ms": round(dump_s * 1e3),
                "load_s": round(load_s, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
