"""One wish against a strategy and a history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.frequency.domain.allowance import Decision, Stand, judge
from services.frequency.domain.calendar import Calendar, Unit
from services.frequency.domain.hours import Hours
from services.frequency.domain.reservation import (
    Confirmed,
    Expired,
    NotReserved,
    Released,
    Reservation,
    State,
    decide_confirm,
    decide_release,
    evolve,
    stands,
)
from services.frequency.domain.strategy import Ask, Kind, Limit, Strategy, faults
from tests.unit.frequency.test_hours_and_calendar import at

HOUR, DAY = 3_600_000_000, 86_400_000_000
MAIL, SMS = Kind("promo", "email"), Kind("promo", "sms")
NOON = at("2026-05-06T12:00:00+00:00")
ONE_A_DAY = Strategy("s", 1, (Limit(1, DAY),), defer_on_limit=True)


def sent(at_us: int, kind: Kind = MAIL, key: str = "k") -> Stand:
    return Stand(at_us, kind, key)


def test_a_place_is_free_again_at_exactly_the_length_of_the_window() -> None:
    history = [sent(NOON - DAY + 1)]
    verdict = judge(ONE_A_DAY, MAIL, history, NOON, NOON)
    assert verdict.decision is Decision.DEFERRED
    assert verdict.next_us == NOON + 1
    assert judge(ONE_A_DAY, MAIL, history, NOON + 1, NOON).decision is Decision.ALLOWED


def test_the_receipt_names_rule_window_and_what_was_counted() -> None:
    history = [sent(NOON - HOUR, key="a"), sent(NOON - 2 * DAY, key="old")]
    binding = judge(ONE_A_DAY, MAIL, history, NOON, NOON).binding
    assert binding is not None
    assert (binding.rule, binding.max) == ("limit:0", 1)
    assert [stand.message_key for stand in binding.counted] == ["a"]
    assert (binding.from_us, binding.to_us) == (NOON - DAY, NOON)


def test_zero_blocks_for_good_and_no_limit_is_no_limit() -> None:
    never = Strategy("s", 1, (Limit(0, DAY),), defer_on_limit=True)
    verdict = judge(never, MAIL, [], NOON, NOON)
    assert (verdict.decision, verdict.next_us) == (Decision.DENIED, None)
    free = Strategy("s", 1)
    assert judge(free, MAIL, [sent(NOON)] * 50, NOON, NOON).decision is Decision.ALLOWED


def test_a_limit_counts_and_binds_only_what_it_covers() -> None:
    strategy = replace(ONE_A_DAY, limits=(Limit(1, DAY, channels=frozenset({"sms"})),))
    history = [sent(NOON - HOUR, MAIL), sent(NOON - HOUR, SMS)]
    assert judge(strategy, MAIL, history, NOON, NOON).decision is Decision.ALLOWED
    assert judge(strategy, SMS, history, NOON, NOON).decision is Decision.DEFERRED


def test_an_unconfirmed_reservation_counts_until_it_expires() -> None:
    held = Stand(NOON + 60, MAIL, "held", pending=True)
    verdict = judge(ONE_A_DAY, MAIL, [held], NOON, NOON)
    assert verdict.next_us == NOON + 60 + DAY
    assert judge(ONE_A_DAY, MAIL, [held], NOON + 60, NOON).decision is Decision.ALLOWED


def test_the_gap_counts_from_the_deadline_of_a_reservation() -> None:
    strategy = Strategy("s", 1, min_gap_us=HOUR, defer_on_limit=True)
    verdict = judge(strategy, MAIL, [Stand(NOON + 60, MAIL, "held", pending=True)], NOON, NOON)
    assert verdict.next_us == NOON + 60 + HOUR
    assert verdict.binding is not None
    assert verdict.binding.rule == "gap"


def test_limits_gap_and_hours_all_have_to_permit() -> None:
    strategy = Strategy(
        "s",
        1,
        (Limit(2, 6 * HOUR), Limit(1, Calendar(Unit.DAY))),
        min_gap_us=2 * HOUR,
        hours=Hours(9 * 60, 21 * 60),
        defer_on_limit=True,
        defer_on_hours=True,
        zone_name="Europe/Kyiv",
    )
    verdict = judge(strategy, MAIL, [sent(NOON - HOUR)], NOON, NOON)
    # The day ends at local midnight, and the next one's hours begin at nine.
    assert verdict.next_us == at("2026-05-07T09:00+03:00")
    assert verdict.binding is not None
    assert verdict.binding.rule == "limit:1"


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        (replace(ONE_A_DAY, defer_on_limit=False), "limit:0"),
        (Strategy("s", 1, hours=Hours(0, 60), defer_on_limit=True), "hours"),
        (replace(ONE_A_DAY, longest_deferral_us=HOUR), "limit:0"),
    ],
)
def test_it_is_denied_where_it_may_not_be_deferred(strategy: Strategy, rule: str) -> None:
    verdict = judge(strategy, MAIL, [sent(NOON - HOUR)], NOON, NOON)
    assert verdict.decision is Decision.DENIED
    assert verdict.binding is not None
    assert verdict.binding.rule == rule


def test_the_longest_deferral_runs_from_the_first_ask() -> None:
    strategy = replace(ONE_A_DAY, longest_deferral_us=DAY)
    history = [sent(NOON - HOUR)]
    assert judge(strategy, MAIL, history, NOON, NOON).decision is Decision.DEFERRED
    assert judge(strategy, MAIL, history, NOON, NOON - 2 * HOUR).decision is Decision.DENIED


def test_a_deadline_never_lies_past_the_hours_or_the_calendar_window() -> None:
    strategy = Strategy("s", 1, hours=Hours(0, 12 * 60 + 1), ttl_us=HOUR)
    assert judge(strategy, MAIL, [], NOON, NOON).deadline_us == NOON + 60_000_000
    daily = Strategy("s", 1, (Limit(5, Calendar(Unit.DAY)),), ttl_us=HOUR)
    late = at("2026-05-06T23:59:59+00:00")
    assert judge(daily, MAIL, [], late, late).deadline_us == late + 1_000_000


def test_every_fault_of_a_strategy_is_named_with_its_path() -> None:
    ask = Ask("vip", entered=True, kind=MAIL)
    bad = Strategy(
        "s",
        limits=(Limit(1, 0), Limit(1, Calendar(Unit.DAY, 0, 9))),
        hours=Hours(60, 60),
        zone_name="Nowhere",
        asks=(ask, ask),
        ttl_us=0,
    )
    assert [path for path, _ in faults(bad)] == [
        "limits[0].rolling",
        "limits[1].calendar.length",
        "limits[1].calendar.week_start",
        "reservation_ttl",
        "hours.to",
        "zone",
        "asks[1]",
    ]


def test_a_reservation_is_confirmed_once_and_only_before_its_deadline() -> None:
    held = Reservation(State.RESERVED, 100)
    (fact,) = decide_confirm(held, 99)
    assert fact == Confirmed(99)
    confirmed = evolve(held, fact)
    assert decide_confirm(confirmed, 500) == []
    assert decide_release(confirmed, 99) == []
    with pytest.raises(Expired):
        decide_confirm(held, 100)
    with pytest.raises(NotReserved):
        decide_confirm(evolve(held, Released()), 50)


def test_a_key_is_judged_anew_once_its_answer_stands_no_longer() -> None:
    assert stands(Reservation(State.RESERVED, 100), 99)
    assert not stands(Reservation(State.RESERVED, 100), 100)
    assert stands(Reservation(State.CONFIRMED, 100), 10_000)
    assert stands(Reservation(State.DENIED, 0), 10_000)
    assert not stands(Reservation(State.DEFERRED, 100), 100)
    assert not stands(Reservation(State.RELEASED, 100), 50)
