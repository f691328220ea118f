"""People and what they do, as messages of EVENTS: known and new, in order and late, merging."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.chassis import subjects
from services.chassis.core import Message
from services.identity.adapters.wire import EVENT_COLUMNS

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
