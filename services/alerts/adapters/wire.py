"""Watches, states and notices between the contract, the database and the domain."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from hashlib import blake2b

from google.protobuf.duration_pb2 import Duration

from muster.alerts.v1 import facts_pb2, service_pb2
from muster.types.v1.event_pb2 import Decimal
from services.alerts.domain.series import faults
from services.alerts.domain.watch import (
    Bound,
    Point,
    Raised,
    Resolved,
    Series,
    State,
    Status,
    Watch,
)
from services.chassis.errors import InvalidRequest
from services.chassis.parking import timestamp

NAME_MAX = 64
KEY_MAX = 128
EXPONENT_MAX = 18
SERIES: set[int] = {int(series) for series in Series}
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
Faults = list[tuple[str, str]]


def microseconds(duration: Duration) -> int:
    return duration.seconds * 1_000_000 + int(duration.nanos / 1_000)


def check_id(path: str, value: str) -> Faults:
    if _ID.fullmatch(value):
        return []
    return [(path, f"{value!r}: use a letter, then up to 62 of a-z, 0-9 and '-'")]


def check_text(path: str, value: str, most: int) -> Faults:
    if len(value) <= most and "\0" not in value:
        return []
    return [(path, f"must have at most {most} characters and no NUL")]


def watch_of(message: service_pb2.Watch) -> Watch:
    """A watch from the contract. Raises InvalidRequest with every fault."""
    found = check_id("watch_id", message.watch_id)
    found += check_id("segment_id", message.segment_id)
    found += check_text("event_type", message.event_type, NAME_MAX)
    if message.series not in SERIES:
        found.append(("series", "name size, entered, left or activity"))
    watch = Watch(
        watch_id=message.watch_id,
        version=message.version,
        segment_id=message.segment_id,
        series=Series(message.series) if message.series in SERIES else Series.SIZE,
        step_us=microseconds(message.step),
        event_type=message.event_type,
        above=_bound_of("above", message.above, found) if message.HasField("above") else None,
        below=_bound_of("below", message.below, found) if message.HasField("below") else None,
        for_points=message.for_points or 1,
        resolve_points=message.resolve_points or 1,
        cool_down_us=microseconds(message.cool_down),
    )
    if message.series in SERIES:
        found += faults(watch)
    if found:
        raise InvalidRequest([(f"watch.{path}", text) for path, text in found])
    return watch


def _bound_of(path: str, message: Decimal, found: Faults) -> Bound:
    if message.exponent > EXPONENT_MAX:
        found.append((f"{path}.exponent", f"must lie between 0 and {EXPONENT_MAX}"))
        return Bound(0)
    return Bound(message.units, message.exponent)


def alert_id(tenant: str, watch: Watch, raises: int) -> str:
    """Derived: the same alert always has the same id."""
    name = f"{tenant}\0{watch.watch_id}\0{watch.version}\0{raises}".encode()
    return "al_" + blake2b(name, digest_size=12).hexdigest()


def raised(tenant: str, watch: Watch, fact: Raised) -> facts_pb2.AlertNotice:
    """The notice, still without its number."""
    return facts_pb2.AlertNotice(
        raised=facts_pb2.AlertRaised(
            alert_id=alert_id(tenant, watch, fact.raises),
            tenant=tenant,
            watch_id=watch.watch_id,
            watch_version=watch.version,
            segment_id=watch.segment_id,
            breach=facts_pb2.Breach.Name(int(fact.breach)),
            value=str(fact.point.value),
            bound=str(fact.bound),
            point_from_time=timestamp(fact.point.from_us),
            point_to_time=timestamp(fact.point.to_us),
            raise_time=timestamp(fact.point.to_us),
        )
    )


def resolved(
    tenant: str, watch: Watch, fact: Resolved, at_us: int | None = None
) -> facts_pb2.AlertNotice:
    """The notice, still without its number. at_us: when a point did not resolve it."""
    return facts_pb2.AlertNotice(
        resolved=facts_pb2.AlertResolved(
            alert_id=alert_id(tenant, watch, fact.raises),
            tenant=tenant,
            watch_id=watch.watch_id,
            segment_id=watch.segment_id,
            value=str(fact.point.value),
            point_from_time=timestamp(fact.point.from_us),
            point_to_time=timestamp(fact.point.to_us),
            resolve_time=timestamp(at_us if at_us is not None else fact.point.to_us),
            raise_time=timestamp(fact.raised_us),
        )
    )


def numbered(notice: facts_pb2.AlertNotice, number: int) -> bytes:
    """Wire bytes of a notice with its number."""
    which = notice.raised if notice.HasField("raised") else notice.resolved
    which.number = number
    return bytes(notice.SerializeToString())


def point_message(point: Point) -> service_pb2.Point:
    return service_pb2.Point(
        from_time=timestamp(point.from_us),
        to_time=timestamp(point.to_us),
        value=str(point.value),
    )


def state_text(state: State) -> str:
    return json.dumps(asdict(state), separators=(",", ":"))


def state_of(text: str) -> State:
    values = json.loads(text)
    values["status"] = Status(values["status"])
    return State(**values)


def sums_text(sums: dict[int, int]) -> str:
    return json.dumps(list(sums.items()), separators=(",", ":"))


def sums_of(text: str) -> dict[int, int]:
    return dict(json.loads(text))
