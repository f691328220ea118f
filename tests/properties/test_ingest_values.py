"""Exact numbers, normal forms and the memory of ids, each against a plain account of it."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis.identifiers import BadIdentifier, Normaliser
from services.chassis.prints import print_key, print_of
from services.ingest.adapters import rows as at_
from services.ingest.adapters.checks import Checker, Envelope, exact_number
from services.ingest.adapters.decoder import KernelDecoder
from services.ingest.adapters.seen import BUCKET_US, FULL, KNOWN, NEW, Seen
from services.ingest.domain.faults import HORIZON_US

NOW = 1_750_000_000_000_000
KEY = print_key("test")
DECODER = KernelDecoder()
NORMALISER = Normaliser()
CHECKER = Checker(NORMALISER, KEY)


def checked_number(number: float) -> Decimal:
    """What a double becomes on its way through the kernel and, where needed, Python."""
    event = Event(event_id="e", type="t", occur_time_us=NOW)
    event.identifiers.add(kind="user_id", value="u")
    event.properties.add(key="n", number=number)
    rows = DECODER.decode([EventBatch(events=[event]).SerializeToString()])
    assert not CHECKER.check(rows, [Envelope(NOW)]).faults[0]
    line = rows.properties[0].tolist()
    if line[at_.KIND] == at_.TEXT:
        return Decimal(rows.slice(line[at_.TEXT_START], line[at_.TEXT_END]).decode())
    assert line[at_.KIND] == (at_.DECIMAL if line[at_.EXPONENT] else at_.WHOLE)
    assert 0 <= line[at_.EXPONENT] <= 18
    return Decimal(line[at_.VALUE]).scaleb(-line[at_.EXPONENT])


@settings(max_examples=600, print_blob=True, deadline=None)
@example(0.1 + 0.2)
@example(999.995)
@example(-0.0)
@example(5e-324)
@example(1.7976931348623157e308)
@example(9007199254740993.0)
@example(1e15)
@example(123456789012345.6)
@example(1e-18)
@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(-(10**9), 10**9, places=4).map(float)
    | st.integers(-(2**70), 2**70).map(float)
)
def test_a_double_is_its_shortest_decimal_form(number: float) -> None:
    assert checked_number(number) == Decimal(repr(number))
    kind, value, exponent, text = exact_number(number)
    exact = Decimal(text.decode()) if kind == at_.TEXT else Decimal(value).scaleb(-exponent)
    assert exact == Decimal(repr(number))


CHARACTERS = "aB0-. @_+1\u00e9ſ\t'!xn"
SHAPED = st.text(CHARACTERS, max_size=20) | st.from_regex(
    r"[a-zA-Z0-9.+-]{1,8}@([a-z0-9-]{1,5}\.){1,3}[a-z0-9-]{1,6}", fullmatch=True
)


ODD_ADDRESSES = (
    "a..b@example.com",
    ".a@example.com",
    "a.@example.com",
    "a@.example.com",
    "a@example..com",
    "a@example.com.",
    "a@-example.com",
    "a@example-.com",
    "a@ab--cd.com",
    "a@example.c0",
    "a@example.c",
    "a@example",
    "a@b@example.com",
    "@example.com",
    "a b@example.com",
    "Ann@Example.com",
    "a@exa_mple.com",
    "a@1.2.3.4",
    "a@xn--mller-kva.de",
)


def test_the_kernel_is_certain_of_no_odd_address() -> None:
    for value in ODD_ADDRESSES:
        the_outcome_is_that_of_the_normaliser("email", value)


@settings(max_examples=800, print_blob=True, deadline=None)
@example("email", "a" * 64 + "@" + "b" * 63 + ".co")
@example("email", "a" * 65 + "@b.co")
@example("user_id", "undefined")
@example("cookie", "0-0")
@given(st.sampled_from(["email", "user_id", "cookie", "phone", "loyalty_card"]), SHAPED)
def test_the_kernel_is_certain_only_of_what_is_normal(kind: str, value: str) -> None:
    the_outcome_is_that_of_the_normaliser(kind, value)


def the_outcome_is_that_of_the_normaliser(kind: str, value: str) -> None:
    """Values go through the kernel or Python; the outcome is always that of the normaliser."""
    event = Event(event_id="e", type="t", occur_time_us=NOW)
    event.identifiers.add(kind="crm", value="always-there")
    event.identifiers.add(kind=kind, value=value)
    body = EventBatch(events=[event]).SerializeToString()
    try:
        normal: str | None = Normaliser().normal(kind, value)
    except BadIdentifier:
        normal = None
    for _ in range(2):  # the second time the kernel may know it
        rows = DECODER.decode([body])
        checked = CHECKER.check(rows, [Envelope(NOW)])
        assert checked.dropped.tolist() == [False, normal is None]
        if normal is not None:
            start, end = rows.identifiers[1, at_.VALUE_START :].tolist()
            assert rows.slice(start, end).decode() == normal
            assert tuple(checked.identifier_prints[1].tolist()) == print_of(kind, normal, KEY)
            assert NORMALISER.normal(kind, normal) == normal


@pytest.mark.parametrize("seed", [31, 32])
def test_numbers_in_e164_are_told_without_parsing_as_the_library_would(seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    codes = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    normaliser, unchanged = Normaliser(), 0
    for _ in range(3_000):
        digits = "".join(chance.choice("0123456789") for _ in range(chance.randint(5, 12)))
        value = f"+{chance.choice(codes)}{digits}"
        try:
            number = phonenumbers.parse(value, None)
            expected = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            possible = phonenumbers.is_possible_number(number)
        except phonenumbers.NumberParseException:
            possible = False
        try:
            normal = normaliser.normal("phone", value)
        except BadIdentifier:
            assert not possible or set(expected) <= set("+0"), value
        else:
            assert possible, value
            assert normal == expected, value
            unchanged += normal == value
    assert unchanged > 500


class Remembered:
    """The naive memory: everything ever taken, by bucket, until the horizon."""

    def __init__(self, prints_max: int, imports_max: int) -> None:
        self.live: dict[tuple[int, int], int] = {}
        self.imports: set[int] = set()
        self.prints_max, self.imports_max = prints_max, imports_max

    def admit(self, name: int, send_us: int, is_import: bool) -> int:
        known = name in self.imports if is_import else (name, send_us // BUCKET_US) in self.live
        count, most = (
            (len(self.imports), self.imports_max)
            if is_import
            else (len(self.live), self.prints_max)
        )
        if known:
            return KNOWN
        if count >= most:
            return FULL
        if is_import:
            self.imports.add(name)
        else:
            self.live[name, send_us // BUCKET_US] = send_us
        return NEW

    def advance(self, now: int) -> None:
        oldest = (now - HORIZON_US) // BUCKET_US
        self.live = {place: send for place, send in self.live.items() if place[1] >= oldest}


@pytest.mark.parametrize(("seed", "prints_max"), [(41, 10**6), (42, 10**6), (43, 1_500)])
def test_ids_are_remembered_for_the_horizon_and_never_forgotten_for_room(
    seed: int, prints_max: int
) -> None:
    print("seed", seed)
    chance = np.random.default_rng(seed)
    seen, naive = Seen(prints_max, 700), Remembered(prints_max, 700)
    now = NOW
    told: set[int] = set()
    for turn in range(120):
        now += int(chance.choice([1_000, 60_000_000, BUCKET_US, 3_600_000_000, 9 * 3_600_000_000]))
        names = chance.integers(0, 4_000, 60)
        # A name belongs to one instant of sending, as a retry repeats it.
        send = now - (names * 7_919 % HORIZON_US) % (HORIZON_US - 1)
        send -= send % (BUCKET_US // 2)
        imported = chance.random(60) < 0.2
        prints = np.stack([names + 1, names * 3], axis=1).astype(np.uint64)
        chosen = np.flatnonzero(chance.random(60) < 0.9)
        found = seen.admit(prints, send, imported, chosen).tolist()
        # Within a step live rows are judged bucket by bucket: only the maximum can tell.
        order = sorted(chosen.tolist(), key=lambda r: (not imported[r], send[r] // BUCKET_US))
        expected = {r: naive.admit(int(names[r]), int(send[r]), bool(imported[r])) for r in order}
        assert found == [expected[r] for r in chosen.tolist()], turn
        told |= set(found)
        seen.advance(now)
        naive.advance(now)
        assert (seen.count, seen.import_count) == (len(naive.live), len(naive.imports))
        if turn % 17 == 0:
            state = {n: memoryview(b.tobytes()) for n, b in seen.dump().items()}
            seen = Seen(prints_max, 700)
            seen.load(state)
    assert told >= {KNOWN, NEW}
    assert (FULL in told) == (prints_max < 10**6 or len(naive.imports) == 700)


def test_a_large_bucket_grows_is_sealed_and_still_knows_everything() -> None:
    seen = Seen(10**7, 10)
    chance = np.random.default_rng(5)
    prints = chance.integers(1, 2**64, (300_000, 2), np.uint64)
    send = np.full(len(prints), NOW)
    nobody = np.zeros(len(prints), np.bool_)
    for part in np.array_split(np.arange(len(prints)), 50):
        assert (seen.admit(prints, send, nobody, part) == NEW).all()
    seen.advance(NOW + 3 * BUCKET_US)
    sealed = [name for name in seen.dump() if name.startswith("sealed.")]
    assert len(sealed) == 1
    assert (seen.admit(prints, send, nobody, np.arange(len(prints))) == KNOWN).all()
    seen.advance(NOW + HORIZON_US + 2 * BUCKET_US)
    assert (seen.count, seen.dump().keys()) == (0, {"imports.0"})
