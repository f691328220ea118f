"""One story per source and channel, on a whole stack: what comes in moves a segment."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from muster.ingest.v1.catalogue_pb2 import CatalogueItem
from muster.ingest.v1.service_pb2 import PutCatalogueItemsRequest
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from muster_client import Client, events

ROOT = Path(__file__).parents[2]
WITHIN_S = 20.0

SEGMENTS = """\
segment: lives-in-brno
condition: {attribute: {name: city, eq: Brno}}
---
segment: on-the-site
condition: {event: {type: page_viewed, where: {path: /shoes}, window: last 1 hour}}
---
segment: in-the-app
condition: {event: {type: app_opened, where: {platform: ios}, window: last 1 day}}
---
segment: bought-online
condition:
  event: {type: order_completed, where: {store: {not_exists: true}}, sum: {of: total, gte: 100}}
---
segment: bought-in-a-store
condition: {event: {type: order_completed, where: {store: brno-1}}}
---
segment: can-still-buy
condition:
  catalogue: {type: product_viewed, item: product_id, has: {stock: {gt: 0}}, window: {last: 1h}}
---
segment: opened-mail
condition:
  event: {type: message_opened, where: {channel: email, machine: {ne: true}}, window: last 1 day}
---
segment: got-sms
condition: {event: {type: message_delivered, where: {channel: sms}, window: last 1 day}}
---
segment: clicked-viber
condition: {event: {type: message_clicked, where: {channel: viber}, window: last 1 day}}
---
segment: web-push
condition: {channel: web_push}
---
segment: ios-push
condition: {channel: {name: mobile_push, platform: ios}}
"""


@dataclass
class Muster:
    """A running stack: its commands, its doors."""

    env: dict[str, str]
    stack: dict[str, Any]

    def __call__(self, *words: str, code: int | None = 0) -> str:
        """A command's output. code: how it must end; None takes either."""
        answer = subprocess.run(
            [str(ROOT / "muster"), *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert code in (None, answer.returncode), answer.stdout + answer.stderr
        return answer.stdout

    @property
    def ingest(self) -> str:
        return str(self.stack["addresses"]["ingest"])

    def publish(self, *made: events.Event) -> None:
        """As a publisher's own program does."""
        with Client.over_grpc(self.ingest, tenant="demo", publisher="shop") as client:
            for event in made:
                client.publish(event)
            client.flush(20)
            assert client.rejected == 0

    def post(self, path: str, call: dict[str, Any]) -> None:
        """As Segment's SDKs do."""
        key = base64.b64encode(b"site:").decode()
        request = urllib.request.Request(
            f"{self.stack['http_url']}/v1/{path}",
            json.dumps(call).encode(),
            {"authorization": f"Basic {key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200

    def becomes(self, person: str, segment: str, state: str = "in") -> None:
        """Waits until the person is known, and in the segment or out of it."""
        end = time.monotonic() + WITHIN_S
        while True:
            said = self("segments", "check", person, segment, code=None)
            if re.search(rf"^{state} +{segment}", said, re.MULTILINE):
                return
            assert time.monotonic() < end, f"{person} is not {state} {segment}: {said}"


@pytest.fixture(scope="module")
def muster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    folder = tmp_path_factory.mktemp("sources")
    file = folder / "stack.json"
    env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    env |= {"COLUMNS": "120", "MUSTER_STACK_FILE": str(file)}
    up = subprocess.Popen(
        [str(ROOT / "muster"), "up", "--state", str(folder / "state")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert up.stdout is not None
    said: list[str] = []
    for line in up.stdout:
        said.append(line)
        if "Ctrl-C stops it." in line:
            break
    else:
        raise AssertionError("it ended early:\n" + "".join(said))
    made = Muster(env, json.loads(file.read_text()))
    rules = folder / "segments.yaml"
    rules.write_text(SEGMENTS)
    made("segments", "define", str(rules))
    yield made
    up.send_signal(signal.SIGINT)
    assert up.wait(20) == 0


def test_a_contact_list_is_a_file(muster: Muster, tmp_path: Path) -> None:
    contacts = tmp_path / "contacts.csv"
    contacts.write_text("E-Mail,city\nlist-a@example.org,Brno\nlist-b@example.org,Wien\n")
    said = muster(
        *("import", str(contacts), "--type", "profile_updated", "--map", "E-Mail=email"),
        *("--receipts", str(tmp_path)),
    )
    assert "2 events, 0 rejected" in said
    muster.becomes("email=list-a@example.org", "lives-in-brno")
    muster.becomes("email=list-b@example.org", "lives-in-brno", "out")


def test_a_website_speaks_segment_and_an_unknown_visitor_gets_a_name(muster: Muster) -> None:
    page = {"anonymousId": "web-1", "properties": {"path": "/shoes", "title": "Shoes"}}
    muster.post("page", page)
    muster.becomes("cookie=web-1", "on-the-site")
    muster.post(
        "identify", {"anonymousId": "web-1", "userId": "web-ada", "traits": {"city": "Brno"}}
    )
    muster.becomes("user_id=web-ada", "on-the-site")
    muster.becomes("user_id=web-ada", "lives-in-brno")


def test_an_app_speaks_segment(muster: Muster) -> None:
    muster.post(
        "track",
        {
            "userId": "app-ada",
            "event": "Application Opened",
            "context": {"device": {"type": "ios", "token": "app-token-1"}},
        },
    )
    muster.becomes("user_id=app-ada", "in-the-app")
    muster.becomes("mobile_push_token=app-token-1", "in-the-app")


def test_orders_come_from_the_web_shop_in_its_own_words(muster: Muster) -> None:
    lines = [{"item_id": "p1", "price": 60.05, "quantity": 2}]
    order = {"transaction_id": "w-1", "value": 120.10, "currency": "EUR", "items": lines}
    muster.post("track", {"userId": "buyer-1", "event": "purchase", "properties": order})
    muster.becomes("user_id=buyer-1", "bought-online")
    muster.becomes("user_id=buyer-1", "bought-in-a-store", "out")


def test_orders_come_from_the_till_by_the_number_of_a_card(muster: Muster) -> None:
    order = events.event(
        "order_completed",
        identifiers={"loyalty_card": "card-77"},
        phone="+420601123456",
        order_id="till-1",
        total="15.00",
        currency="CZK",
        store="brno-1",
    )
    muster.publish(order)
    muster.becomes("loyalty_card=card-77", "bought-in-a-store")
    muster.becomes("phone=+420601123456", "bought-in-a-store")


def test_the_catalogue_says_what_can_be_bought(muster: Muster) -> None:
    with grpc.insecure_channel(muster.ingest) as channel:
        door = IngestServiceStub(channel)

        def stock(pieces: int) -> None:
            item = CatalogueItem(item_id="boots")
            item.properties.add(key="stock", whole=pieces)
            request = PutCatalogueItemsRequest(tenant="demo", publisher="erp", items=[item])
            assert door.PutCatalogueItems(request, timeout=20).stored == 1

        stock(4)
        muster.publish(events.product_viewed(user_id="looker", product_id="boots"))
        muster.becomes("user_id=looker", "can-still-buy")
        stock(0)
        muster.becomes("user_id=looker", "can-still-buy", "out")


Said = Callable[[str], events.Event]


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        (
            "opened-mail",
            lambda who: events.message("opened", channel="email", message_id="m1", email=who),
        ),
        ("got-sms", lambda who: events.message("delivered", channel="sms", email=who)),
        ("clicked-viber", lambda who: events.message("clicked", channel="viber", email=who)),
    ],
)
def test_messages_report_what_became_of_them(muster: Muster, segment: str, said: Said) -> None:
    who = f"{segment}@example.org"
    machine = events.message("opened", channel="email", email=who, machine=True)
    muster.publish(machine)
    muster.becomes(f"email={who}", segment, "out")
    muster.publish(said(who))
    muster.becomes(f"email={who}", segment)


def test_a_browser_subscribes_to_push_and_takes_it_back(muster: Muster) -> None:
    muster.publish(
        events.push_subscribed(
            platform="chrome", channel="web_push", web_push_token="wp-1", cookie="browser-1"
        )
    )
    muster.becomes("cookie=browser-1", "web-push")
    muster.publish(events.message("unsubscribed", channel="web_push", cookie="browser-1"))
    muster.becomes("cookie=browser-1", "web-push", "out")


def test_a_phone_subscribes_to_push_on_its_platform(muster: Muster) -> None:
    for platform, phone in (("ios", "phone-1"), ("android", "phone-2")):
        muster.publish(
            events.push_subscribed(
                platform=platform, mobile_push_token=f"mp-{phone}", user_id=phone
            )
        )
    muster.becomes("user_id=phone-1", "ios-push")
    muster.becomes("user_id=phone-2", "ios-push", "out")
