"""What people said about being written to: channels they stopped, platforms they take push on.

A word counts for the identifier it came with; a permission counts for all identifiers that the
person has when it takes effect, so after a merge the stricter of two subscriptions stands until
somebody says yes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.simulation.naive.events import items_of
from cli.simulation.naive.facts import Assigned, Row

if TYPE_CHECKING:
    from cli.simulation.naive.world import NaiveWorld

CHANNELS = {
    "email": "email",
    "sms": "phone",
    "viber": "phone",
    "web_push": "web_push_token",
    "mobile_push": "mobile_push_token",
}
"""The kind of identifier that makes a channel reachable."""
_STOPS = ("message_unsubscribed", "message_complained", "message_bounced")
_PUSH = {"push_subscribed": False, "push_unsubscribed": True}
_PUSH_CHANNELS = ("web_push", "mobile_push")
Topic = tuple[str, str]
"""A channel and a platform; without a platform, the channel's stops."""


def words_of(fact: Row | Assigned) -> list[tuple[Topic, bool]]:
    """(topic, whether it says no) of what a fact says."""
    if isinstance(fact, Assigned):
        channel = fact.key.removeprefix("subscription.")
        values = fact.values or ()
        if channel == fact.key or channel not in CHANNELS or len(values) != 1:
            return []
        return [((channel, ""), not values[0])] if isinstance(values[0], bool) else []
    channel = _first_text(fact, "channel")
    if fact.type in _STOPS:
        hard = fact.type != "message_bounced" or items_of(fact.properties, "hard")[:1] == [True]
        return [((channel, ""), True)] if hard and channel in CHANNELS else []
    platform = _first_text(fact, "platform").casefold()
    if fact.type not in _PUSH or not platform:
        return []
    channels = [channel] if channel in _PUSH_CHANNELS else _PUSH_CHANNELS
    return [((one, platform), _PUSH[fact.type]) for one in channels]


def _first_text(row: Row, name: str) -> str:
    found = items_of(row.properties, name)[:1]
    return found[0] if found and isinstance(found[0], str) else ""


def reachable(world: NaiveWorld, channel: str, platform: str, profile: int, at_us: int) -> bool:
    """Whether a profile has the channel's identifier, has not stopped it, and takes push there."""
    if CHANNELS[channel] not in world.kinds(profile, at_us):
        return False
    if any(
        no is not None and (yes is None or no >= yes)
        for yes, no in _said(world, (channel, ""), profile, at_us)
    ):
        return False
    if not platform:
        return True
    return any(
        yes is not None and (no is None or yes > no)
        for yes, no in _said(world, (channel, platform.casefold()), profile, at_us)
    )


def _said(
    world: NaiveWorld, topic: Topic, profile: int, at_us: int
) -> list[tuple[int | None, int | None]]:
    """Of each identifier of a profile the times of the last yes and the last no."""
    last: dict[int, list[int | None]] = {
        atom: [None, None] for atom in atoms(world, profile, at_us)
    }
    for held, about, says_no in world.words:
        fact = held.fact
        if about != topic or fact.effect_us > at_us:
            continue
        if says_no or topic[1]:
            # Its own identifier, once what it said has come with it.
            counts = [fact.atom] if held.at(profile, at_us) is not None else []
        else:
            owner = [stay[0] for stay in held.stays if stay[1] <= fact.effect_us][-1]
            counts = atoms(world, owner, fact.effect_us)
        for atom in counts:
            if atom in last:
                before = last[atom][says_no]
                last[atom][says_no] = max(fact.occur_us, 0, before or 0)
    return [(yes, no) for yes, no in last.values()]


def atoms(world: NaiveWorld, profile: int, at_us: int) -> list[int]:
    """Identifiers of a profile at an instant, those of its rows too."""
    kept = (world.links[profile], world.rows[profile], world.assignments[profile])
    return sorted({h.fact.atom for of in kept for h in of if h.at(profile, at_us)})
