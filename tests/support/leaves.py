"""Random leaves of every kind over the values that random histories use."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from muster.types.v1 import condition_pb2 as pb
from tests.support.filters import (
    ATTRIBUTES,
    CHANNELS,
    ITEM_PROPERTIES,
    NUMBER_PROPERTIES,
    NUMBERS,
    SAME,
    TEXTS,
    Filters,
    aggregate_kind,
    operator,
    units_of,
    value_message,
)
from tests.support.windows import Windows

SAID_TYPES = [
    *("message_unsubscribed", "message_complained", "message_bounced"),
    *("push_subscribed", "push_subscribed", "push_unsubscribed"),
]
"""Events that say over which channels somebody may be reached."""
EVENT_TYPES = ["page_viewed", "order_completed", "app_opened", "app_closed", "profile_updated"]
_OF_VALUES = ("FIRST", "LAST", "MOST_FREQUENT")
_COUNTS = ("COUNT", "DISTINCT", "DISTINCT_DAYS")


@dataclass
class Leaves:
    """Makes leaves from one source of chance."""

    rng: random.Random
    durations_us: list[int]
    instants_us: list[int]
    ordered: bool = True
    """Whether leaves that depend on the order of equal instants may occur."""
    segments: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    """Segments and lists a leaf may name."""

    def __post_init__(self) -> None:
        self.filters = Filters(self.rng, self.durations_us, self.instants_us)
        self.windows = Windows(self.rng, self.durations_us, self.instants_us)

    def draw(self) -> pb.Condition:
        """A leaf of any kind."""
        kinds = [kind for kind in WEIGHTS if self.ordered or kind not in ORDERED]
        weights = [WEIGHTS[kind] for kind in kinds]
        kind = self.rng.choices(kinds, weights)[0]
        if kind == "segment" and not self.segments:
            kind = "attribute"
        if kind == "list" and not self.lists:
            kind = "event"
        return _DRAWN[kind](self)

    # Events.

    def selector(self, made: pb.EventSelector, filters: float = 0.3) -> None:
        rng = self.rng
        if rng.random() < 0.15:
            made.type_prefix = rng.choice(["app_", "order", "p"])
        else:
            made.types.extend(rng.sample(EVENT_TYPES[:3], rng.choice([1, 1, 2])))
        if rng.random() < 0.1:
            made.types.append(rng.choice(EVENT_TYPES))
        if rng.random() < filters:
            made.where.CopyFrom(self.filters.property_filter())

    def event(self) -> pb.Condition:
        rng = self.rng
        made = pb.Condition()
        leaf = made.event
        self.selector(leaf.events)
        self.windows.draw(leaf.window)
        if rng.random() < 0.2:
            return made
        kinds = ["COUNT", "COUNT", "SUM", "SUM", "MIN", "MAX", "AVG", "RATIO", "DISTINCT"]
        kinds += ["DISTINCT_DAYS", *(_OF_VALUES if self.ordered else ())]
        kind = rng.choice(kinds)
        self._aggregate(leaf.aggregate, kind)
        if kind in _OF_VALUES:
            test = self.filters.value_test()
            leaf.comparison.op = test.op
            leaf.comparison.values.extend(test.values)
        else:
            self.comparison(leaf.comparison, kind)
        if kind == "RATIO" and leaf.aggregate.property and rng.random() < 0.4:
            leaf.aggregate.denominator_property = rng.choice(NUMBER_PROPERTIES)
        return made

    def _aggregate(self, made: pb.Aggregate, kind: str) -> None:
        rng = self.rng
        made.kind = aggregate_kind(kind)
        if kind == "DISTINCT_DAYS":
            made.zone = rng.choice(["", *self.windows.zones])
        elif kind == "RATIO":
            self.selector(made.denominator)
            made.property = rng.choice(["", "", *NUMBER_PROPERTIES])
        elif kind != "COUNT":
            made.property = rng.choice(NUMBER_PROPERTIES)
            if kind in ("DISTINCT", *_OF_VALUES) and rng.random() < 0.6:
                made.property = rng.choice(["category", SAME])
        if kind == "MOST_FREQUENT" and rng.random() < 0.4:
            self.selector(made.denominator)
        if made.HasField("denominator"):
            if rng.random() < 0.4 and (kind != "RATIO" or not made.property):
                made.once = rng.choice([SAME, "category"])
            made.denominator_min = rng.choice([0, 0, 1, 2])
        sums = kind in ("SUM", "AVG", "MIN", "MAX") or (kind == "RATIO" and made.property)
        if sums and rng.random() < 0.15:
            made.currency = rng.choice(["USD", "EUR"])

    def comparison(self, made: pb.Comparison, kind: str) -> None:
        """A threshold where the figure often stands."""
        rng = self.rng
        if kind in _COUNTS:
            thresholds = [Fraction(rng.randint(0, 4)) for _ in range(2)]
        elif kind == "RATIO":
            thresholds = [Fraction(rng.choice(["0", "0.5", "1", "2", "0.25"])) for _ in range(2)]
        else:
            sums = [sum(rng.choices(NUMBERS, k=rng.randint(1, 3)), Fraction(0)) for _ in range(9)]
            thresholds = [total for total in sums if abs(units_of(total)[0]) < 2**63]
            thresholds += rng.choices(NUMBERS, k=2)
        name = rng.choice(["EQ", "NE", "GT", "GTE", "LT", "LTE", "BETWEEN"])
        made.op = operator(name)
        count = 2 if name == "BETWEEN" else 1
        made.values.extend(map(value_message, sorted(thresholds[:count])))

    def first_event(self) -> pb.Condition:
        made = pb.Condition()
        self.selector(made.first_event.events)
        self.windows.draw(made.first_event.window)
        return made

    def last_event(self) -> pb.Condition:
        made = pb.Condition()
        self.selector(made.last_event.events)
        made.last_event.has.CopyFrom(self.filters.property_filter())
        return made

    def _same(self) -> str:
        return SAME if self.rng.random() < 0.4 else ""

    def sequence(self) -> pb.Condition:
        rng = self.rng
        made = pb.Condition()
        leaf = made.sequence
        for _ in range(rng.choice([2, 2, 3])):
            self.selector(leaf.steps.add(), filters=0.15)
        if rng.random() < 0.7:
            leaf.within.FromMicroseconds(rng.choice(self.durations_us))
        self.windows.draw(leaf.window)
        leaf.same = self._same()
        return made

    def not_followed(self) -> pb.Condition:
        made = pb.Condition()
        leaf = made.not_followed
        self.selector(leaf.start, filters=0.15)
        self.selector(leaf.by, filters=0.15)
        leaf.within.FromMicroseconds(self.rng.choice(self.durations_us))
        self.windows.draw(leaf.window)
        leaf.same = self._same()
        return made

    def regularly(self) -> pb.Condition:
        rng = self.rng
        made = pb.Condition()
        leaf = made.regularly
        self.selector(leaf.events)
        leaf.of_periods = rng.randint(1, 4)
        leaf.at_least_periods = rng.randint(1, leaf.of_periods)
        leaf.period.FromMicroseconds(rng.choice(self.durations_us))
        leaf.min_count = rng.choice([0, 1, 1, 2])
        return made

    def rfm(self) -> pb.Condition:
        rng = self.rng
        made = pb.Condition()
        leaf = made.rfm
        self.selector(leaf.orders, filters=0.1)
        leaf.amount_property = rng.choice(NUMBER_PROPERTIES)
        self.windows.draw(leaf.window)
        names = rng.sample(["recency", "frequency", "money"], rng.choice([1, 1, 2]))
        for name in names:
            low, high = sorted(rng.randint(1, 5) for _ in range(2))
            setattr(leaf, f"{name}_min", rng.choice([0, low]))
            setattr(leaf, f"{name}_max", high)
        leaf.zone = rng.choice(["", *self.windows.zones])
        # By quantile scores go by cuts of all profiles: test_rfm_equal.py.
        leaf.recency_edges_days.extend(sorted(rng.sample(range(1, 9), 4)))
        leaf.frequency_edges.extend(sorted(rng.sample(range(1, 7), 4)))
        for units, exponent in map(units_of, sorted(rng.sample([n for n in NUMBERS if n >= 0], 4))):
            leaf.money_edges.add(units=units, exponent=exponent)
        return made

    def catalogue(self) -> pb.Condition:
        rng = self.rng
        made = pb.Condition()
        leaf = made.catalogue
        self.selector(leaf.events, filters=0.15)
        self.windows.draw(leaf.window)
        leaf.item_property = SAME
        leaf.item_has.test.property = rng.choice(ITEM_PROPERTIES)
        leaf.item_has.test.test.CopyFrom(self.filters.test())
        if rng.random() < 0.5:
            self.comparison(leaf.count, "COUNT")
        return made

    # Attributes and what else there is of a profile.

    def attribute(self) -> pb.Condition:
        rng = self.rng
        leaf = pb.AttributeLeaf(attribute=rng.choice(ATTRIBUTES), test=self.filters.test())
        if leaf.attribute == "seen" and rng.random() < 0.8:
            leaf.test.CopyFrom(self.filters.time_test(moving=0.6))
        elif leaf.attribute == "born":
            leaf.test.CopyFrom(self.filters.anniversary(rng.choice(["", *self.windows.zones])))
        return pb.Condition(attribute=leaf)

    def attribute_held(self) -> pb.Condition:
        rng = self.rng
        made = pb.Condition()
        leaf = made.attribute_held
        leaf.attribute = rng.choice(ATTRIBUTES[:5])
        leaf.test.CopyFrom(self.filters.test())
        if leaf.attribute == "seen" and rng.random() < 0.8:
            leaf.test.CopyFrom(self.filters.time_test(moving=0.3))
        low, high = sorted(rng.sample(self.durations_us, 2))
        sides = rng.choice([("at_least",), ("less_than",), ("at_least", "less_than")])
        if "at_least" in sides:
            leaf.at_least.FromMicroseconds(low)
        if "less_than" in sides:
            leaf.less_than.FromMicroseconds(high)
        return made

    def attribute_changed(self) -> pb.Condition:
        rng = self.rng
        made = pb.Condition()
        leaf = made.attribute_changed
        leaf.attribute = rng.choice(ATTRIBUTES[:4])
        pool = [*TEXTS[:12], Fraction(10), True, False]
        before, after = rng.sample(pool, 2)
        if rng.random() < 0.3:
            getattr(leaf, "from").CopyFrom(value_message(before))
        if rng.random() < 0.3:
            leaf.to.CopyFrom(value_message(after))
        self.windows.draw(leaf.window)
        return made

    def channel(self) -> pb.Condition:
        leaf = pb.ChannelLeaf(channel=self.rng.choice(CHANNELS))
        if leaf.channel in CHANNELS[3:] and self.rng.random() < 0.6:
            leaf.platform = self.rng.choice(["ios", "iOS", "android"])
        return pb.Condition(channel=leaf)

    def split(self) -> pb.Condition:
        low, high = sorted(self.rng.sample(range(0, 1_001, 50), 2))
        leaf = pb.SplitLeaf(salt=self.rng.choice("xyz"), from_permille=low, to_permille=high)
        return pb.Condition(split=leaf)

    def segment(self) -> pb.Condition:
        return pb.Condition(segment=pb.SegmentLeaf(segment_id=self.rng.choice(self.segments)))

    def list(self) -> pb.Condition:
        return pb.Condition(list=pb.ListLeaf(list_id=self.rng.choice(self.lists)))

    def everyone(self) -> pb.Condition:
        return pb.Condition(everyone=pb.Everyone(known_only=self.rng.random() < 0.5))


WEIGHTS = {
    "event": 40, "attribute": 14, "channel": 4, "segment": 5, "everyone": 3, "list": 4,
    "attribute_held": 6, "attribute_changed": 5, "first_event": 5, "last_event": 4,
    "sequence": 6, "not_followed": 6, "regularly": 5, "rfm": 3, "catalogue": 4, "split": 3,
}  # fmt: skip
ORDERED = ("last_event", "attribute_held", "attribute_changed")
_DRAWN: dict[str, Callable[[Leaves], pb.Condition]] = {
    kind: getattr(Leaves, kind) for kind in WEIGHTS
}
