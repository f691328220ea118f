"""The script of the demo: what the cast does when, and what must come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal as Exact
from typing import TYPE_CHECKING, Any

from cli.commands.segments import explain_lines
from cli.demo.data import CAST, THRESHOLD, live_event, name_of
from muster.identity.v1.service_pb2 import ResolveProfileRequest
from muster.segments.v1.service_pb2 import ExplainMembershipRequest
from muster.types.v1 import common_pb2
from muster.types.v1.event_pb2 import Event
from services.chassis import clock

if TYPE_CHECKING:
    from cli.demo.calls import Calls
    from cli.demo.checks import Checks
    from cli.demo.live import Publisher

WINDOW_US = 20_000_000
PAGES = 5
RUSH_PEOPLE = 25
STEP_S = 0.3
LOOK_S = 0.2
LOOK_TRIES = 50
LENGTH_S = 42.0
"""The script's last consequence, the alert's end, has come by then on a quiet machine."""

Told = Callable[[str, str], None]


@dataclass
class Script:
    """Plays the scenes. tell(kind, text) shows a line; expectations go to `checks`.

    profiles: names of the cast -> profile id, as soon as identity knows them.
    """

    calls: Calls
    publisher: Publisher
    checks: Checks
    tell: Told
    run: str
    almost: str
    almost_spent: Exact
    profiles: dict[str, str] = field(default_factory=dict)
    moments: dict[str, int] = field(default_factory=dict)
    everyone_found: bool = False
    _numbers: int = 0

    async def play(self) -> None:
        """All scenes at their times; a scene that fails is told by its check."""
        scenes: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (0.2, self.olena_browses),
            (1.0, self.amira_has_her_birthday),
            (1.5, self.marta_looks_around),
            (2.0, self.people_rush_in),
            (3.0, self.kenji_reads),
            (4.0, self.marta_orders),
            (6.0, self.yusuf_has_two_devices),
            (9.0, self.someone_reaches_the_threshold),
            (12.0, self.marta_spends),
        ]
        began = clock.monotonic()
        for at, scene in scenes:
            await asyncio.sleep(max(0.0, began + at - clock.monotonic()))
            await scene()
        self.everyone_found = True

    def event(
        self, kind: str, who: dict[str, str], properties: dict[str, Any], ago_us: int = 0
    ) -> Event:
        self._numbers += 1
        event_id = f"{self.run}-cast-{self._numbers}"
        return live_event(kind, who, properties, clock.wall_us() - ago_us, event_id)

    async def olena_browses(self) -> None:
        """Five pages: in browsing-now with the fifth, out when the first is 20 s old."""
        pages = [
            self.event("page_viewed", {"user_id": "olena"}, {"category": "books"}, ago_us=ago)
            for ago in (4_000, 3_000, 2_000, 1_000, 0)
        ]
        self.moments["olena"] = pages[0].occur_time_us
        await self.publisher.say(*pages)
        self.tell("visit", "Olena views five pages: she stays in browsing-now for 20 s")
        await self.find("olena", "user_id", "olena")

    async def amira_has_her_birthday(self) -> None:
        import datetime as dt

        tomorrow = dt.datetime.fromtimestamp(clock.wall_us() / 1e6, dt.UTC) + dt.timedelta(days=1)
        # 1992 has a 29 February, so any tomorrow exists in it.
        born = tomorrow.replace(year=1992).date().isoformat()
        who = {"user_id": "amira", "email": "amira@example.org"}
        await self.publisher.say(self.event("profile_updated", who, {"birth_date": born}))
        self.tell("birthday", "Amira's birthday is tomorrow")
        await self.find("amira", "user_id", "amira")

    async def marta_looks_around(self) -> None:
        who = {"user_id": "marta", "email": "marta@example.org"}
        await self.publisher.say(self.event("product_viewed", who, {"product": "Walkman"}))
        self.tell("visit", "Marta looks at a Walkman: a prospect")
        await self.find("marta", "user_id", "marta")

    async def people_rush_in(self) -> None:
        """More visitors at once than the watch allows."""
        pages = [
            self.event("page_viewed", {"cookie": f"rush-{self.run}-{person}"}, {"category": "toys"})
            for person in range(RUSH_PEOPLE)
            for _ in range(PAGES)
        ]
        await self.publisher.say(*pages)
        self.tell("rush", f"{RUSH_PEOPLE} visitors come at once; the watch allows 15 browsing")

    async def kenji_reads(self) -> None:
        who = {"user_id": "kenji", "mobile_push_token": f"token-{self.run}"}
        await self.publisher.say(
            self.event("email_opened", {"user_id": "kenji"}, {"campaign": "spring"}),
            self.event("app_opened", who, {"os": "ios"}),
        )
        self.tell("visit", "Kenji reads the spring mail and opens the app on iOS")
        await self.find("kenji", "user_id", "kenji")

    async def marta_orders(self) -> None:
        order = {"total": Exact("49.00"), "currency": "USD"}
        await self.publisher.say(self.event("order_completed", {"user_id": "marta"}, order))
        self.tell("order", "Marta orders for $49: from prospect to customer")

    async def marta_spends(self) -> None:
        order = {"total": Exact("1200.00"), "currency": "USD"}
        await self.publisher.say(self.event("order_completed", {"user_id": "marta"}, order))
        self.tell("order", "Marta orders for $1,200; a second message within the hour must wait")

    async def yusuf_has_two_devices(self) -> None:
        """A phone and a laptop, two unknown visitors, until he logs in on both."""
        phone = {"cookie": f"phone-{self.run}", "web_push_token": f"push-{self.run}"}
        laptop = {"cookie": f"laptop-{self.run}"}
        view = {"product": "Kindle"}
        await self.publisher.say(
            self.event("product_viewed", phone, view), self.event("product_viewed", laptop, view)
        )
        first = await self.find("the phone", "cookie", phone["cookie"])
        second = await self.find("the laptop", "cookie", laptop["cookie"])
        self.tell("devices", f"two unknown devices: {first} (phone) and {second} (laptop)")
        await self.publisher.say(
            self.event("logged_in", {"user_id": "yusuf", **phone}, {}),
            self.event("logged_in", {"user_id": "yusuf", **laptop}, {}),
        )
        for _ in range(LOOK_TRIES):
            ones = {
                await self.find("the phone", "cookie", phone["cookie"]),
                await self.find("the laptop", "cookie", laptop["cookie"]),
            }
            if len(ones) == 1:
                break
            await asyncio.sleep(LOOK_S)
        one = next(iter(ones))
        merged = len(ones) == 1 and first != second
        self.checks.settle("devices", merged, f"{first} and {second} are {one}")
        self.profiles["yusuf"] = one
        self.tell("devices", f"Yusuf logs in on both: one person, {one}")

    async def someone_reaches_the_threshold(self) -> None:
        """A real customer of the history, just below $1000, orders once more; then: why in?"""
        missing = THRESHOLD - self.almost_spent + 5
        order = {"total": missing, "currency": "USD"}
        await self.publisher.say(self.event("order_completed", {"user_id": self.almost}, order))
        name = name_of(self.almost)
        self.tell("order", f"{name} had spent ${self.almost_spent} in 90 days, orders ${missing}")
        await self.find(name, "user_id", self.almost)
        await self.explain(name)

    async def explain(self, name: str) -> None:
        import grpc

        person = common_pb2.ProfileRef(profile_id=self.profiles[name])
        request = ExplainMembershipRequest(
            tenant=self.calls.tenant, segment_id="big-spenders", profile=person
        )
        for _ in range(LOOK_TRIES):
            try:
                answer = await self.calls.segments.ExplainMembership(request, timeout=2)
            except grpc.aio.AioRpcError:
                answer = None
            if answer is not None and answer.member:
                break
            await asyncio.sleep(LOOK_S)
        else:
            self.checks.settle("explain", False, "no answer that says `is in`")
            return
        found = Exact(answer.leaves[0].found or 0) if answer.leaves else Exact(0)
        right = found == THRESHOLD + 5 and answer.HasField("flip_time")
        count = answer.leaves[0].events_total
        self.checks.settle("explain", right, f"${found} in {count} orders, and when it flips")
        for line in explain_lines("big-spenders", answer, events_max=3):
            self.tell("explain", line)

    async def find(self, name: str, kind: str, value: str) -> str:
        """The profile behind an identifier, waited for."""
        import grpc

        person = common_pb2.ProfileRef()
        person.identifier.kind, person.identifier.value = kind, value
        request = ResolveProfileRequest(tenant=self.calls.tenant, profile=person)
        for _ in range(LOOK_TRIES):
            try:
                answer = await self.calls.identity.ResolveProfile(request, timeout=2)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(LOOK_S)
                continue
            self.profiles[name] = answer.profile_id
            return str(answer.profile_id)
        return ""


def cast_member(profile_names: dict[str, str], profile_id: str) -> str:
    """The key of the cast behind a profile, empty for others."""
    return next((key for key in CAST if profile_names.get(key) == profile_id), "")
