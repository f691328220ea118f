"""Who can be reached: identifiers, what people said about it, and platforms of push messages."""

from __future__ import annotations

from typing import Any

from services.segments.engine.engine import Engine
from tests.unit.segments.world import World

MAIL = {"channel": "email"}


def world_of(profiles: int, kind: str = "email", **more: Any) -> World:
    world = World(profiles=profiles, **more)
    people = world.engine.part.people
    for row in range(profiles):
        world.link(0, kind, profile=people.number_of(row))
    return world


def copied(world: World) -> None:
    made = Engine(0, 1)
    made.load({n: memoryview(bytes(value)) for n, value in world.engine.dump().items()})
    world.engine = made


def test_who_unsubscribes_complains_or_bounces_hard_is_out_of_reach() -> None:
    world = world_of(5)
    world.define("mail", MAIL)
    world.until(1)
    assert world.members("mail") == [0, 1, 2, 3, 4]
    world.event(2, "message_unsubscribed", profile=0, channel="email")
    world.event(3, "message_complained", profile=1, channel="email")
    world.event(4, "message_bounced", profile=2, channel="email", hard=True)
    world.event(4, "message_bounced", profile=3, channel="email", hard=False)
    world.event(4, "message_unsubscribed", profile=4, channel="sms")
    assert world.until(5) == [
        (2, 0, "mail", "out", "event"),
        (3, 1, "mail", "out", "event"),
        (4, 2, "mail", "out", "event"),
    ]
    assert world.members("mail") == [3, 4]
    assert not world.engine.explain("mail", 0).member


def test_each_channel_has_a_subscription_of_its_own_and_a_later_yes_permits() -> None:
    world = world_of(1, "phone")
    world.define("sms", {"channel": "sms"})
    world.define("viber", {"channel": "viber"})
    world.until(1)
    world.attribute(2, "subscription.sms", False)
    assert world.until(3) == [(2, 0, "sms", "out", "attribute")]
    world.attribute(4, "subscription.sms", True)
    assert world.until(5) == [(4, 0, "sms", "in", "attribute")]
    # A stop that is told late was before the permission.
    world.event(3, "message_unsubscribed", accept=6, channel="sms")
    assert world.until(7) == []
    world.event(8, "message_unsubscribed", channel="sms")
    assert [said[1:4] for said in world.until(9)] == [(0, "sms", "out")]
    assert world.members("viber") == [0]


def test_of_two_subscriptions_the_stricter_stands_until_somebody_says_yes() -> None:
    world = world_of(2)
    world.define("mail", MAIL)
    world.attribute(1, "subscription.email", False, profile=1)
    world.attribute(2, "subscription.email", True, profile=0)
    world.until(3)
    assert world.members("mail") == [0]
    world.merge(4, source=1, target=0, atoms=[1])
    assert world.until(5) == [(4, 0, "mail", "out", "merge")]
    copied(world)
    world.attribute(6, "subscription.email", True, profile=0)
    assert world.until(7) == [(6, 0, "mail", "in", "attribute")]
    # What was permitted for both stays so when they part; an older refusal does not come back.
    world.merge(8, source=0, target=1, atoms=[1], merge=False, move_id=2)
    assert world.until(9) == [(8, 1, "mail", "in", "unmerge")]


def test_an_unmerge_gives_back_to_each_what_was_theirs() -> None:
    world = world_of(2)
    world.define("mail", MAIL)
    world.event(1, "message_unsubscribed", profile=1, channel="email")
    world.until(2)
    world.merge(3, source=1, target=0, atoms=[1])
    world.until(4)
    assert world.members("mail") == []
    world.merge(5, source=0, target=1, atoms=[1], merge=False, move_id=2)
    world.until(6)
    assert world.members("mail") == [0]


def test_a_platform_is_that_of_the_token_that_subscribed() -> None:
    world = world_of(3, "web_push_token")
    world.define("ios", {"channel": {"name": "web_push", "platform": "iOS"}})
    world.define("app", {"channel": {"name": "mobile_push", "platform": "ios"}})
    world.event(1, "push_subscribed", profile=0, platform="ios", channel="web_push")
    world.event(1, "push_subscribed", profile=1, platform="android")
    world.event(1, "push_subscribed", profile=2, platform="ios", channel="mobile_push")
    assert [said[1:4] for said in world.until(2)] == [(0, "ios", "in")]
    world.event(3, "push_unsubscribed", profile=0, platform="ios")
    assert [said[1:4] for said in world.until(4)] == [(0, "ios", "out")]
    assert world.members("app") == []


def test_words_go_with_a_past_to_another_partition() -> None:
    here, there = (world_of(2, partition=p, partitions=2) for p in (1, 0))
    for world in (here, there):
        world.define("mail", MAIL)
    here.event(1, "message_unsubscribed", profile=1, channel="email")
    here.until(2)
    there.until(2)
    assert there.members("mail") == [0, 2]
    bodies = here.merge(3, source=1, target=0, atoms=[1])
    there.merge(3, source=1, target=0, atoms=[1])
    here.until(4)
    for body in bodies:
        assert there.engine.take_history(body) == []
    there.until(4)
    assert there.members("mail") == [2]
