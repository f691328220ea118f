"""The eight questions over Polars: a frame for each type in order of time, windows as slices."""

from __future__ import annotations

from typing import Any

import polars as pl

from benchmarks.segments.others import (
    CITY,
    IOS,
    PHONES,
    PUSH,
    TRIGGERED,
    WOMEN,
    Tables,
    midnight_us,
)
from benchmarks.segments.workload import (
    APP,
    CATEGORY,
    CLICKED,
    DAY_US,
    HOUR_US,
    OPENED,
    ORDER,
    PRODUCT,
    TYPES,
)

DAYS_30, DAYS_90, YEAR = 30 * DAY_US, 90 * DAY_US, 365 * DAY_US


class Frames:
    """Answers are counts of profiles."""

    def __init__(self, tables: Tables) -> None:
        events = pl.DataFrame(tables.events)
        self.now_us, self.tomorrow = tables.now_us, int(tables.tomorrow)
        self.of = {kind: events.filter(pl.col("type") == kind) for kind in range(len(TYPES))}
        self.by_time = events.sort("ts")
        self.profiles = pl.DataFrame(tables.profiles)

    def last(self, frame: Any, length: int, until: int = 0) -> Any:
        """The rows of a frame that occurred in (now - length, now - until]."""
        start = frame["ts"].search_sorted(self.now_us - length, side="right")
        end = frame["ts"].search_sorted(self.now_us - until, side="right")
        return frame.slice(start, end - start)

    def s1(self) -> int:
        women = (pl.col("gender") == WOMEN) & (pl.col("city") == CITY) & (pl.col("email") == 1)
        return self.profiles.filter(women).height

    def s2(self) -> int:
        return self.profiles.filter(pl.col("born") == self.tomorrow).height

    def s3(self) -> int:
        spent = self.last(self.of[ORDER], DAYS_90).group_by("profile").agg(pl.col("amount").sum())
        return int(spent.filter(pl.col("amount") >= 100_000).height)

    def s4(self) -> int:
        found = [
            self.of[CATEGORY].filter(pl.col("category") == PHONES),
            self.of[APP].filter(pl.col("platform") == IOS),
            self.of[PUSH].filter(pl.col("platform") == IOS),
        ]
        either = pl.concat([one["profile"] for one in found]).unique().to_frame()
        opened = self.last(self.of[OPENED], DAYS_90).select("profile").unique()
        return int(opened.join(either, on="profile", how="semi").height)

    def s5(self) -> int:
        clicked = self.last(self.of[CLICKED], HOUR_US)
        return int(clicked.filter(pl.col("kind") == TRIGGERED)["profile"].n_unique())

    def s6(self) -> int:
        often = self.last(self.of[OPENED], YEAR).group_by("profile").len()
        heard = self.last(self.by_time, DAYS_30)["profile"].unique().to_frame()
        return int(often.filter(pl.col("len") >= 10).join(heard, on="profile", how="anti").height)

    def s7(self) -> int:
        views = self.last(self.of[PRODUCT], 14 * DAY_US, 3 * DAY_US).select("ts", "profile")
        orders = self.of[ORDER].select(pl.col("ts").alias("then"), "profile")
        joined = views.join_asof(
            orders, left_on="ts", right_on="then", by="profile", strategy="forward",
            allow_exact_matches=False, check_sortedness=False,
        )  # fmt: skip
        nothing = pl.col("then").is_null() | (pl.col("then") > pl.col("ts") + 3 * DAY_US)
        return int(joined.filter(nothing)["profile"].n_unique())

    def s8(self) -> int:
        figures = (
            self.last(self.of[ORDER], YEAR)
            .group_by("profile")
            .agg(pl.col("ts").max(), pl.len(), pl.col("amount").sum())
        )
        recent = pl.col("ts") >= midnight_us(self.now_us) - 89 * DAY_US
        fine = recent & (pl.col("len") >= 3) & (pl.col("amount") >= 20_000)
        return int(figures.filter(fine).height)
