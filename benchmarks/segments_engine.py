"""The segments engine alone: events/s by number of segments, cost per step by rows, reader A.

Synthetic history with disorder (log-normal jitter of 80 ms, 2 % of the events more than an hour
late), ten event types, skewed profiles; segments of the kinds people write (spend over a period,
opened and viewed, clicked in the last hour, quiet for a month, attribute and activity ...). Every
figure includes decoding EventColumns and encoding TransitionColumns and ActivityCounted.

    python benchmarks/segments_engine.py --profiles 100000 --events 1000000 --segments 10 100 1000

Half of the history is there before the segments are defined, the other half is played. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import facts_pb2 as facts
from muster.types.v1 import columns_pb2, common_pb2, condition_pb2
from services.chassis.clock import performance_us
from services.chassis.columns import ColumnCodec, pool_of
from services.segments.engine.engine import Engine
from services.segments.engine.warm import warm

EVENTS = ColumnCodec(columns_pb2.EventColumns)
CREATED = ColumnCodec(identity.ProfilesCreated)
ATTRIBUTES = ColumnCodec(identity.AttributesSet)
TRANSITIONS = ColumnCodec(facts.TransitionColumns)
ACTIVITY = ColumnCodec(facts.ActivityCounted)

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
BEGIN_US = 1_760_000_000 * SECOND_US
TYPES = [
    "message_delivered", "message_opened", "message_clicked", "page_viewed", "product_viewed",
    "category_viewed", "cart_changed", "order_completed", "app_opened", "push_subscribed",
]  # fmt: skip
SHARES = [0.225, 0.18, 0.04, 0.2, 0.15, 0.08, 0.04, 0.05, 0.03, 0.005]
KEYS = ["amount", "category", "campaign", "kind", "platform"]
CITIES = [f"city-{n}" for n in range(50)]
KINDS = ["promo", "triggered"]


class History:
    """Rows in order of arrival, handed out as encoded EventColumns."""

    def __init__(self, profiles: int, events: int, days: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.profiles, self.events = profiles, events
        shares = np.array(SHARES) / sum(SHARES)
        self.type = rng.choice(len(TYPES), events, p=shares).astype(np.uint32)
        rank = (rng.random(events) ** 2.5 * profiles).astype(np.int64)
        self.profile = rng.permutation(profiles)[rank].astype(np.uint32)
        occur = np.sort(rng.integers(0, int(days * DAY_US), events)) + BEGIN_US
        delay = (np.exp(rng.normal(np.log(80_000), 0.8, events))).astype(np.int64)
        late = rng.random(events) < 0.02
        delay[late] = HOUR_US + rng.integers(0, 24 * HOUR_US, int(late.sum()))
        accept = occur + delay
        order = np.argsort(accept, kind="stable")
        self.occur, self.accept = occur[order], accept[order]
        self.amount = rng.integers(100, 30_000, events)
        self.texts = (
            [f"category-{n}" for n in range(500)] + [f"campaign-{n}" for n in range(2_000)] + KINDS
            + ["ios", "android", "web"]
        )  # fmt: skip
        self.category = rng.integers(0, 500, events)
        self.campaign = 500 + rng.integers(0, 2_000, events)
        self.kind = 2_500 + (rng.random(events) < 0.3)
        self.platform = 2_502 + rng.integers(0, 3, events)
        self.name, self.name_end = pool_of(TYPES + KEYS)

    def body(self, start: int, end: int) -> bytes:
        """Rows [start, end) as bytes of EventColumns; four properties each."""
        n = end - start
        value = np.stack(
            [self.amount[start:end], self.category[start:end], self.campaign[start:end],
             self.kind[start:end]], axis=1,
        ).astype(np.int64)  # fmt: skip
        used, local = np.unique(value[:, 1:], return_inverse=True)
        value[:, 1:] = local.reshape(n, 3)
        text, text_end = pool_of([self.texts[number] for number in used.tolist()])
        number = np.arange(start, end, dtype=np.uint64)
        prints = np.stack([number, number], axis=1).ravel()
        ids = np.char.add("e", number.astype("U12")).astype("S13")
        raw = ids.tolist()
        return EVENTS.encode(
            {
                "rows": n, "name": self.name, "name_end": self.name_end, "text": text,
                "text_end": text_end, "event_print": prints, "type": self.type[start:end],
                "occur_time_us": self.occur[start:end], "send_time_us": self.occur[start:end],
                "accept_time_us": self.accept[start:end],
                "prop_end": np.arange(4, 4 * n + 4, 4, dtype=np.uint32),
                "prop_key": np.tile(np.arange(10, 14, dtype=np.uint32), n),
                "prop_kind": np.tile(np.array([3, 1, 1, 1], np.uint8), n),
                "prop_value": value.ravel(),
                "prop_exponent": np.tile(np.array([2, 0, 0, 0], np.uint8), n),
                "event_id": b"".join(raw), "event_id_end": np.cumsum([len(one) for one in raw]),
                "row_flags": np.zeros(n, np.uint8), "profile": self.profile[start:end],
                "atom": self.profile[start:end],
            }
        )  # fmt: skip


def _events(types: list[str], seconds: int | None, where: tuple[str, str] | None = None) -> Any:
    condition = condition_pb2.Condition()
    condition.event.events.types.extend(types)
    if seconds is not None:
        condition.event.window.last.seconds = seconds
    if where is not None:
        test = condition.event.events.where.test
        test.property, test.test.op = where[0], condition_pb2.OPERATOR_EQ
        test.test.values.append(common_pb2.Value(text=where[1]))
    return condition


def _figure(condition: Any, kind: int, op: int, bound: int) -> Any:
    condition.event.aggregate.kind = kind
    if kind == condition_pb2.AGGREGATE_KIND_SUM:
        condition.event.aggregate.property = "amount"
    condition.event.comparison.op = op
    condition.event.comparison.values.append(common_pb2.Value(whole=bound))
    return condition


def _group(name: str, *of: Any) -> Any:
    condition = condition_pb2.Condition()
    getattr(condition, name).of.extend(of)
    return condition


def _not(of: Any) -> Any:
    condition = condition_pb2.Condition()
    getattr(condition, "not").CopyFrom(of)
    return condition


def _attribute(name: str, value: str) -> Any:
    condition = condition_pb2.Condition()
    condition.attribute.attribute = name
    condition.attribute.test.op = condition_pb2.OPERATOR_EQ
    condition.attribute.test.values.append(common_pb2.Value(text=value))
    return condition


def segment(number: int, rng: np.random.Generator) -> Any:
    """One of seven kinds of rule, with parameters from a menu."""
    day = 86_400
    days = int(rng.choice([1, 3, 7, 14, 30, 60, 90, 180, 365])) * day
    count, gte = condition_pb2.AGGREGATE_KIND_COUNT, condition_pb2.OPERATOR_GTE
    total = condition_pb2.AGGREGATE_KIND_SUM
    match number % 7:
        case 0:
            return _group(
                "all", _attribute("gender", str(rng.choice(["f", "m"]))),
                _attribute("city", str(rng.choice(CITIES))),
            )  # fmt: skip
        case 1:
            types = [str(rng.choice(["message_opened", "product_viewed", "order_completed"]))]
            return _group("all", _attribute("gender", "f"), _events(types, days))
        case 2:
            bound = int(rng.choice([50, 100, 200, 500, 1_000, 2_000]))
            return _figure(_events(["order_completed"], days), total, gte, bound)
        case 3:
            category = f"category-{rng.integers(0, 100)}"
            length = [None, 90 * day, 30 * day][int(rng.integers(0, 3))]
            opened = _figure(
                _events(["message_opened"], days), count, gte, int(rng.choice([1, 1, 2, 3]))
            )
            return _group(
                "all", opened,
                _group(
                    "any", _events(["category_viewed"], length, ("category", category)),
                    _events(["app_opened"], 30 * day),
                ),
            )  # fmt: skip
        case 4:
            hours = int(rng.choice([1, 2, 6, 24, 72])) * 3_600
            return _events(["message_clicked"], hours, ("kind", str(rng.choice(KINDS))))
        case 5:
            quiet = int(rng.choice([7, 14, 30, 60, 90])) * day
            types = [str(rng.choice(["message_opened", "page_viewed"]))]
            often = _figure(_events(types, 365 * day), count, gte, int(rng.choice([3, 5, 10, 20])))
            return _group("all", _not(_events([], quiet)), often)
    return _group("all", _events(["cart_changed"], days), _not(_events(["order_completed"], days)))


def begin(history: History, until: int) -> Engine:
    """An engine with all profiles, their attributes and the first rows of the history."""
    engine = Engine(0, 1)
    rng = np.random.default_rng(1)
    n = history.profiles
    number = np.arange(n, dtype=np.uint32)
    created = {
        "profile": number, "public_id": number.astype(np.uint64) + np.uint64(10**12),
        "atom": number, "create_time_us": np.full(n, BEGIN_US - DAY_US),
    }  # fmt: skip
    engine.create_profiles(CREATED.decode(CREATED.encode(created)))
    names, name_end = pool_of(["gender", "city"])
    texts, text_end = pool_of(["f", "m", *CITIES])
    value = np.stack([rng.integers(0, 2, n), 2 + rng.integers(0, 50, n)], axis=1)
    engine.set_attributes(
        ATTRIBUTES.decode(
            ATTRIBUTES.encode(
                {
                    "profile": np.repeat(number, 2), "atom": np.repeat(number, 2), "name": names,
                    "name_end": name_end, "text": texts, "text_end": text_end,
                    "key": np.tile(np.array([0, 1]), n), "item": np.zeros(2 * n),
                    "kind": np.ones(2 * n), "value": value.ravel(), "exponent": np.zeros(2 * n),
                    "occur_time_us": np.full(2 * n, BEGIN_US - DAY_US),
                    "accept_time_us": np.full(2 * n, BEGIN_US - DAY_US),
                    "event_print": np.zeros(4 * n),
                }
            )
        )
    )  # fmt: skip
    for start in range(0, until, 50_000):
        end = min(start + 50_000, until)
        engine.add_events(EVENTS.decode(history.body(start, end)))
        engine.advance(int(history.accept[end - 1]))
    return engine


def define(engine: Engine, count: int) -> float:
    """Defines `count` segments; seconds it took."""
    rng = np.random.default_rng(7)
    began = performance_us()
    for number in range(count):
        definition = facts.SegmentDefined(
            segment_id=f"s-{number}", segment_number=number + 1, version=1
        )
        definition.condition.CopyFrom(segment(number, rng))
        engine.define(definition, engine.time_us)
    engine.advance(engine.time_us)
    return (performance_us() - began) / 1e6


def play(engine: Engine, history: History, start: int, end: int, step: int) -> dict[str, Any]:
    """Plays rows in steps of so many; bodies are made before the clock runs."""
    bodies, times = [], []
    for begin_row in range(start, end, step):
        last = min(begin_row + step, end)
        bodies.append(history.body(begin_row, last))
        times.append(int(history.accept[last - 1]))
    spent = np.empty(len(bodies))
    said = activity = size = 0
    for i, (body, at) in enumerate(zip(bodies, times, strict=True)):
        began = performance_us()
        engine.add_events(EVENTS.decode(body))
        outcome = engine.advance(at)
        if outcome.transitions:
            size += len(TRANSITIONS.encode(outcome.transitions))
            said += outcome.transitions["at_us"].size
        if outcome.activity:
            size += len(ACTIVITY.encode(outcome.activity))
            activity += outcome.activity["count"].size
        spent[i] = performance_us() - began
    rows = end - start
    return {
        "rows_per_step": step, "events_per_s": round(rows / spent.sum() * 1e6),
        "step_p50_ms": round(float(np.median(spent)) / 1e3, 3),
        "step_p99_ms": round(float(np.quantile(spent, 0.99)) / 1e3, 3),
        "transitions_per_event": round(said / rows, 2),
        "activity_per_event": round(activity / rows, 2), "bytes_out_per_event": round(size / rows),
    }  # fmt: skip


def read(engine: Engine) -> dict[str, float]:
    """Milliseconds of a count by reader A, by kind of rule (best of three)."""
    rng = np.random.default_rng(11)
    found = {}
    names = ["attributes", "attribute+events", "sum", "opened+any", "clicked", "quiet", "cart"]
    for number, name in enumerate(names):
        plan = engine.compile(segment(number, rng))
        best = float("inf")
        for _ in range(3):
            began = performance_us()
            engine.count(plan)
            best = min(best, (performance_us() - began) / 1e3)
        found[name] = round(best, 2)
    return found


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=800_000)
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--segments", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 20, 50, 100, 500, 1_500])
    parser.add_argument("--big-step", type=int, default=10_000)
    parser.add_argument("--played", type=int, default=100_000, help="rows played in big steps")
    parser.add_argument("--live-rate", type=int, default=10_000, help="events/s of the small steps")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    warm()
    print(f"seed {given.seed}, load average {os.getloadavg()[0]:.1f}")
    history = History(given.profiles, given.events, given.days, given.seed)
    half = given.events // 2
    result: dict[str, Any] = {"profiles": given.profiles, "events": given.events, "by_segments": {}}
    for count in given.segments:
        began = performance_us()
        engine = begin(history, half)
        loaded = (performance_us() - began) / 1e6
        defined = define(engine, count)
        end = min(half + given.played, given.events)
        play(engine, history, half, half + min(20_000, given.played // 2), given.big_step)
        big = play(engine, history, half + min(20_000, given.played // 2), end, given.big_step)
        part = engine.part
        big |= {
            "load_s": round(loaded, 2), "define_s": round(defined, 2),
            "leaves": len(engine.leaves.numbers), "cursors": len(part.cursors.cursors),
            "streams": len(part.streams.streams),
        }  # fmt: skip
        print(f"{count} segments: {big}")
        result["by_segments"][count] = big
        if count == 100 or len(given.segments) == 1:
            result["reader_ms"] = read(engine)
            print(f"reader A, ms: {result['reader_ms']}")
            result["steps"] = steps(engine, history, end, given)
    print(json.dumps(result))


def steps(engine: Engine, history: History, start: int, given: Any) -> list[dict[str, Any]]:
    """Cost per step for small steps at a live rate: the rest of the history, told faster."""
    spacing = SECOND_US // given.live_rate
    behind = history.accept[start:] - history.occur[start:]
    first = int(history.accept[start - 1])
    history.accept[start:] = first + spacing * np.arange(1, behind.size + 1)
    history.occur[start:] = history.accept[start:] - behind
    found = []
    for size in given.steps:
        end = min(start + size * 400, start + 60_000, history.events)
        if end - start < size:
            break
        one = play(engine, history, start, end, size)
        print(f"steps of {size}: {one}")
        found.append(one)
        start = end
    return found


if __name__ == "__main__":
    main()
