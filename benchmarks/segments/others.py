"""The eight questions in SQL and in data frames: DuckDB, chDB (ClickHouse) and Polars.

Each gets the same rows in the layout that suits it: events by (type, time), instants as int64
microseconds, amounts as whole cents. Answers are counts; they must equal ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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
    Shop,
)

PUSH = TYPES.index("push_subscribed")
IOS, PHONES, TRIGGERED, WOMEN, CITY = 1, 7, 1, 1, 7

Ask = Callable[[str], int]


class Tables:
    """The columns an engine loads: only what has been accepted by now."""

    def __init__(self, shop: Shop, rows: int, now_us: int) -> None:
        self.now_us = now_us
        order = np.lexsort((shop.occur[:rows], shop.type[:rows]))
        self.events = {
            "type": shop.type[:rows][order],
            "ts": shop.occur[:rows][order],
            "profile": shop.profile[:rows][order],
            "amount": shop.amount[:rows][order],
            "category": shop.category[:rows][order],
            "kind": shop.kind[:rows][order],
            "platform": shop.platform[:rows][order],
        }
        days = np.datetime64("1960-01-01") + shop.birthday
        tomorrow = np.datetime64(now_us, "us").astype("datetime64[D]") + 1
        self.tomorrow = _month_day(np.array([tomorrow]))[0]
        self.profiles = {
            "profile": np.arange(shop.profiles, dtype=np.uint32),
            "gender": shop.gender,
            "city": shop.city,
            "born": _month_day(days),
            "email": shop.has_email.astype(np.uint8),
        }


def _month_day(days: np.ndarray) -> np.ndarray:
    months = days.astype("datetime64[M]")
    of_year = months.astype(np.int64) % 12 + 1
    return (of_year * 32 + (days - months.astype("datetime64[D]")).astype(np.int64) + 1).astype(
        np.int16
    )


def sql(tables: Tables, asof: str) -> dict[str, str]:
    """The questions. asof: how the dialect joins a view with the first order after it."""
    t = tables.now_us
    day = DAY_US
    recent, frequent, worth = midnight_us(t) - 89 * day, 3, 20_000

    def having(kind: int, last_us: int, then: str) -> str:
        return (
            f"select count(*) from (select profile from events where type = {kind} "
            f"and ts > {t - last_us} and ts <= {t} group by profile having {then})"
        )

    return {
        "S1": "select count(*) from profiles where "
        f"gender = {WOMEN} and city = {CITY} and email = 1",
        "S2": f"select count(*) from profiles where born = {tables.tomorrow}",
        "S3": having(ORDER, 90 * day, "sum(amount) >= 100000"),
        "S4": "select count(*) from (select distinct profile from events where "
        f"type = {OPENED} and ts > {t - 90 * day} and ts <= {t}) o where o.profile in ("
        f"select profile from events where (type = {CATEGORY} and category = {PHONES}) "
        f"or (type = {APP} and platform = {IOS}) or (type = {PUSH} and platform = {IOS}))",
        "S5": f"select count(distinct profile) from events where type = {CLICKED} "
        f"and kind = {TRIGGERED} and ts > {t - HOUR_US} and ts <= {t}",
        "S6": f"select count(*) from (select profile from events where type = {OPENED} "
        f"and ts > {t - 365 * day} and ts <= {t} group by profile having count(*) >= 10) o "
        f"where o.profile not in (select profile from events where ts > {t - 30 * day} "
        f"and ts <= {t})",
        "S7": f"select count(distinct v.profile) from (select * from events where "
        f"type = {PRODUCT} and ts > {t - 14 * day} and ts <= {t - 3 * day}) v {asof} "
        f"(select * from events where type = {ORDER}) o on v.profile = o.profile "
        f"and v.ts < o.ts where o.ts is null or o.ts = 0 or o.ts > v.ts + {3 * day}",
        "S8": having(
            ORDER,
            365 * day,
            f"max(ts) >= {recent} and count(*) >= {frequent} and sum(amount) >= {worth}",
        ),
    }


def midnight_us(t: int) -> int:
    return t - t % DAY_US


def duckdb_ask(tables: Tables) -> dict[str, Callable[[], int]]:
    import duckdb

    connection = duckdb.connect()
    connection.execute("set threads to 1")
    for name in ("events", "profiles"):
        columns = getattr(tables, name)
        connection.register("given", columns)
        connection.execute(f"create table {name} as select * from given")
        connection.unregister("given")

    def ask(text: str) -> Callable[[], int]:
        def answer() -> int:
            found = connection.execute(text).fetchone()
            assert found is not None
            return int(found[0])

        return answer

    return {name: ask(text) for name, text in sql(tables, "asof left join").items()}


def chdb_ask(tables: Tables) -> dict[str, Callable[[], int]]:
    import pyarrow as pa
    from chdb.session import Session

    session = Session()
    session.query("create database if not exists bench")
    session.query("use bench")
    session.query("set max_threads = 1")
    kept: dict[str, Any] = {}
    for name, order in (("events", "(type, ts)"), ("profiles", "profile")):
        kept[name] = pa.table(getattr(tables, name))
        globals()[f"chdb_{name}"] = kept[name]
        session.query(
            f"create table {name} engine = MergeTree order by {order} as "
            f"select {', '.join(f'assumeNotNull({c}) as {c}' for c in getattr(tables, name))} "
            f"from Python(chdb_{name})"
        )
        session.query(f"optimize table {name} final")

    def ask(text: str) -> Callable[[], int]:
        return lambda: int(str(session.query(text, "CSV")).strip())

    return {name: ask(text) for name, text in sql(tables, "asof left join").items()}


def polars_ask(tables: Tables) -> dict[str, Callable[[], int]]:
    from benchmarks.segments.frames import Frames

    frames = Frames(tables)
    return {f"S{number}": getattr(frames, f"s{number}") for number in range(1, 9)}


PEERS: dict[str, Callable[[Tables], dict[str, Callable[[], int]]]] = {
    "DuckDB": duckdb_ask,
    "chDB": chdb_ask,
    "Polars": polars_ask,
}
