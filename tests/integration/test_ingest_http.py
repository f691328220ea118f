"""The HTTP door as websites, apps and Segment's own SDK meet it: a real process, a real log."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import segment.analytics as segment_sdk
from nats.aio.client import Client

from muster.types.v1.columns_pb2 import EventColumns
from services.chassis import clock, subjects
from services.chassis.children import free_port
from services.chassis.columns import pool_texts
from services.chassis.pull import Pull
from tests.support.servers import Stack


@dataclass
class Http:
    """The doors and the worker as processes, and the address of the HTTP door."""

    url: str
    client: Client

    async def post(
        self, path: str, tree: Any, key: str = "shop", **headers: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """(status, body, headers) of a POST."""
        body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
        said = {"content-type": "application/json"} | headers
        if key:
            said["authorization"] = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
        request = urllib.request.Request(f"{self.url}/v1/{path}", body, said)
        return await asyncio.to_thread(_answer, request)

    async def rows(self, count: int) -> list[dict[str, Any]]:
        """The first rows of EVENTS, as mappings, once there are `count`."""
        pull = Pull(self.client, subjects.EVENTS, [subjects.events("demo")], 0, {})
        found: list[dict[str, Any]] = []
        deadline = clock.monotonic() + 30
        while len(found) < count and clock.monotonic() < deadline:
            for pulled in await pull.take(1 << 20, 0.2):
                found += rows_of(EventColumns.FromString(pulled.body))
        await pull.close()
        assert len(found) == count, f"{len(found)} of {count} rows"
        return found


def rows_of(columns: EventColumns) -> list[dict[str, Any]]:
    """Every row by its names: id, type, times, identifiers, properties as (item, value) lists."""
    names = pool_texts(np.frombuffer(columns.name, np.uint8), np.array(columns.name_end, np.uint32))
    texts = pool_texts(np.frombuffer(columns.text, np.uint8), np.array(columns.text_end, np.uint32))
    ids = pool_texts(
        np.frombuffer(columns.event_id, np.uint8), np.array(columns.event_id_end, np.uint32)
    )
    values = pool_texts(
        np.frombuffer(columns.id_text, np.uint8), np.array(columns.id_text_end, np.uint32)
    )
    rows = []
    id_at = prop_at = 0
    for row in range(columns.rows):
        who = {}
        for k in range(id_at, columns.id_end[row]):
            who[names[columns.id_kind[k]]] = values[k]
        said: dict[str, list[Any]] = {}
        for k in range(prop_at, columns.prop_end[row]):
            value = columns.prop_value[k]
            kind = columns.prop_kind[k]
            shown: Any = value
            if kind == 1:
                shown = texts[value]
            elif kind == 3:
                shown = f"{value}e-{columns.prop_exponent[k]}"
            elif kind == 4:
                shown = bool(value)
            said.setdefault(names[columns.prop_key[k]], []).append(shown)
        id_at, prop_at = columns.id_end[row], columns.prop_end[row]
        rows.append(
            {
                "id": ids[row],
                "type": names[columns.type[row]],
                "occur_us": columns.occur_time_us[row],
                "who": who,
                "said": said,
                "flags": columns.row_flags[row],
            }
        )
    return rows


def _answer(request: urllib.request.Request) -> tuple[int, dict[str, Any], dict[str, str]]:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"{}"), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}"), dict(error.headers)


@pytest.fixture
async def http(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Http:
    port = free_port()
    monkeypatch.setenv("MUSTER_HTTP_PORT", str(port))
    doors = stack.start("ingest", "doors")
    monkeypatch.delenv("MUSTER_HTTP_PORT")
    worker = stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    return Http(f"http://127.0.0.1:{port}", stack.client)


def iso(us: int) -> str:
    return dt.datetime.fromtimestamp(us / 1e6, dt.UTC).isoformat()


async def test_segments_own_client_publishes_through_the_door(http: Http) -> None:
    errors: list[Any] = []
    client = segment_sdk.Client(
        "shop", host=http.url, gzip=True, on_error=lambda error, _: errors.append(error)
    )
    client.identify("ada", {"email": "Ada@Example.org", "firstName": "Ada", "vip": True})
    client.track(
        "ada",
        "Order Completed",
        {
            "order_id": "o-1",
            "revenue": 19.99,
            "currency": "EUR",
            "products": [{"product_id": "p1", "quantity": 2}, {"product_id": "p2"}],
        },
        context={"device": {"type": "ios", "token": "tok-1"}},
    )
    client.page("ada", None, "Start", {"url": "https://shop.example/"})
    client.screen("ada", None, "Home")
    client.group("ada", "g1", {"plan": "pro"})
    client.alias("anon-1", "ada")
    await asyncio.to_thread(client.shutdown)
    assert errors == []
    rows = {row["type"]: row for row in await http.rows(7)}
    assert rows["profile_updated"]["who"] == {"user_id": "ada", "email": "ada@example.org"}
    assert rows["profile_updated"]["said"]["first_name"] == ["Ada"]
    assert rows["profile_updated"]["said"]["vip"] == [True]
    order = rows["order_completed"]
    assert order["who"] == {"user_id": "ada", "mobile_push_token": "tok-1"}
    assert order["said"]["total"] == ["1999e-2"]
    assert order["said"]["lines.product_id"] == ["p1", "p2"]
    assert order["said"]["platform"] == ["ios"]
    assert rows["purchase_counted"]["said"]["value"] == ["1999e-2"]
    assert rows["purchase_counted"]["who"] == order["who"]
    assert rows["page_viewed"]["said"]["name"] == ["Start"]
    assert rows["screen_viewed"]["said"]["name"] == ["Home"]
    assert rows["group_joined"]["said"]["group.plan"] == ["pro"]
    assert rows["identities_linked"]["who"] == {"user_id": "ada", "cookie": "anon-1"}


async def test_a_batch_is_answered_per_call_and_a_retry_counts_once(http: Http) -> None:
    now = clock.wall_us()
    good = {
        "type": "track",
        "event": "Song Played",
        "messageId": "m1",
        "userId": "u1",
        "timestamp": iso(now),
        "properties": {"price": 0.1, "deep": {"list": [1, 2]}},
    }
    nobody = {"type": "track", "event": "x", "messageId": "m2", "timestamp": iso(now)}
    blocked = good | {"messageId": "m3", "userId": "null"}
    batch = {"batch": [good, nobody, blocked, 7], "sentAt": iso(now)}
    status, answer, _ = await http.post("batch", batch)
    assert status == 400
    assert answer["stored"] == 1
    assert [(i["index"], i["messageId"], i["code"]) for i in answer["items"]] == [
        (1, "m2", "no_identifier"),
        (2, "m3", "only_blocked_identifiers"),
        (3, "", "bad_call"),
    ]
    packed = gzip.compress(json.dumps({"batch": [good], "sentAt": iso(now + 9_000_000)}).encode())
    status, answer, _ = await http.post("batch", packed, **{"content-encoding": "gzip"})
    assert (status, answer["success"]) == (200, True)
    status, _, _ = await http.post("track", good | {"messageId": "m4"})
    assert status == 200
    rows = await http.rows(2)
    assert [row["id"] for row in rows] == ["m1", "m4"]
    assert rows[0]["type"] == "song_played"
    assert rows[0]["said"]["event_name"] == ["Song Played"]
    assert rows[0]["said"]["price"] == ["1e-1"]
    assert rows[0]["said"]["deep.list"] == [1, 2]


async def test_what_a_request_may_not_be_is_refused_with_its_status(http: Http) -> None:
    call = {"userId": "u", "event": "x"}
    assert (await http.post("track", call, key=""))[0] == 401
    assert (await http.post("track", call, key="Not A Key"))[0] == 401
    assert (await http.post("track", b"{"))[0] == 400
    assert (await http.post("track", b"[1]"))[0] == 400
    assert (await http.post("track", b'{"userId": "u", "event": "x", "properties": {"a": NaN}}'))[
        0
    ] == 400
    assert (await http.post("track", b"zzz", **{"content-encoding": "gzip"}))[0] == 400
    assert (await http.post("track", call | {"properties": {"t": "x" * 40_000}}))[0] == 413
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 32_000
    assert (await http.post("batch", bomb, **{"content-encoding": "gzip"}))[0] == 413
    assert (await http.post("batch", {"batch": []}))[0] == 400
    beacon = json.dumps(call | {"writeKey": "site"}).encode()
    status, _, headers = await http.post("t", beacon, key="", **{"content-type": "text/plain"})
    assert (status, headers["access-control-allow-origin"]) == (200, "*")
    assert (await http.rows(1))[0]["who"] == {"user_id": "u"}


async def test_an_import_is_history_of_any_age_and_needs_ids(http: Http) -> None:
    old = {"type": "track", "event": "purchase", "userId": "u", "timestamp": "2019-05-01T10:00:00Z"}
    status, answer, _ = await http.post("import", {"batch": [old | {"messageId": "h1"}, old]})
    assert (status, answer["stored"]) == (400, 1)
    assert answer["items"][0]["code"] == "missing_event_id"
    status, answer, _ = await http.post("batch", {"batch": [old | {"messageId": "h2"}]})
    assert answer["items"][0]["code"] == "too_old_to_deduplicate"
    again = await http.post("import", {"batch": [old | {"messageId": "h1"}]})
    assert again[0] == 200
    rows = await http.rows(1)
    assert rows[0]["flags"] & 1
    assert rows[0]["type"] == "order_completed"


async def test_more_than_can_be_held_is_refused_with_the_time_to_wait(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that never end fill the door's megabyte, or are as many as it takes; the next is
    told when to come again."""
    monkeypatch.setenv("MUSTER_HTTP_BYTES_MAX", str(1 << 20))
    monkeypatch.setenv("MUSTER_HTTP_REQUESTS_MAX", "5")
    port = free_port()
    monkeypatch.setenv("MUSTER_HTTP_PORT", str(port))
    doors = stack.start("ingest", "doors")
    monkeypatch.delenv("MUSTER_HTTP_PORT")
    worker = stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    door = Http(f"http://127.0.0.1:{port}", stack.client)
    head = b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n"
    slow = []
    for size in (400_000, 400_000, 240_000):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b" " * size)
        await writer.drain()
        slow.append(writer)
    await asyncio.sleep(0.5)
    call = {"userId": "u", "event": "x", "properties": {"texts": ["x" * 7_000] * 4}}
    for _ in range(3):
        status, answer, headers = await door.post("track", call)
        assert (status, answer["code"]) == (429, "overloaded")
        assert int(headers["retry-after"]) >= 1
    for writer in slow:
        writer.close()
    await asyncio.sleep(0.3)
    assert (await door.post("track", call))[0] == 200
    slow = []
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b" ")
        await writer.drain()
        slow.append(writer)
    await asyncio.sleep(0.5)
    status, answer, headers = await door.post("track", call)
    assert (status, answer["code"], headers["retry-after"]) == (429, "overloaded", "1")
    for writer in slow:
        writer.close()
    await asyncio.sleep(0.3)
    assert (await door.post("track", call))[0] == 200
