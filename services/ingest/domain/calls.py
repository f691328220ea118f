"""Decides what a call of Segment's API says: track, identify, page, screen, group, alias.

Source: Segment's Spec. messageId is the event id, anonymousId a cookie, userId a user_id; e-mail
and phone of the traits identify too, and so does a device's push token. `times` says what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.ingest.domain.drafts import Draft, DraftFault, flat, instant_us
from services.ingest.domain.vocabulary import spoken

KINDS = ("track", "identify", "page", "screen", "group", "alias")
ATTRIBUTES_TYPE = "profile_updated"
SKEW_STEP_US = 30 * 60 * 1_000_000
SKEW_TOLERANCE_US = 10 * 60 * 1_000_000
TRAITS = {
    "firstName": "first_name",
    "lastName": "last_name",
    "birthday": "birth_date",
    "createdAt": "created_at",
    "postalCode": "postal_code",
}
PUSH_KINDS = {"web": "web_push_token", "browser": "web_push_token"}
"""Kinds of push tokens by the device's type; every other device is a mobile one."""


@dataclass(frozen=True, slots=True)
class Received:
    """What the calls of one request share. send_us: the request's sentAt, None without it.

    is_history: an import, deduplicated for ever: times of any age, but an id in every call.
    """

    receive_us: int
    send_us: int | None = None
    is_history: bool = False


def draft_of(kind: str, call: object, received: Received, new_id: Callable[[], str]) -> Draft:
    """The event that a call stands for; DraftFault names the field that is wrong.

    kind: the endpoint's, or "" for an item of a batch, which names its own.
    """
    if not isinstance(call, Mapping):
        raise DraftFault("", "bad_call", "must be a JSON object")
    kind = kind or call.get("type", "")
    if kind not in KINDS:
        raise DraftFault("type", "bad_call", f"must be one of {', '.join(KINDS)}")
    context = _object(call, "context")
    given_id = call.get("messageId")
    if given_id is not None and not isinstance(given_id, str):
        raise DraftFault("messageId", "bad_event_id", "must be a text")
    if received.is_history and not given_id:
        raise DraftFault("messageId", "missing_event_id", "an import needs it, to count once")
    occur_us, send_us = times(call, bool(given_id), received)
    draft = Draft(given_id or new_id(), "", occur_us, send_us)
    traits = _object(call, "traits") if kind == "identify" else _object(context, "traits")
    _identify(draft, kind, call, context, traits)
    tree = _WORDS[kind](draft, call)
    for key, value in _circumstances(kind, context).items():
        tree.setdefault(key, value)
    draft.properties = list(flat(tree))
    if not draft.identifiers:
        raise DraftFault("userId", "no_identifier", "name the person: userId or anonymousId")
    return draft


def times(call: Mapping[str, Any], named: bool, received: Received) -> tuple[int, int]:
    """(occur_us, send_us) of a call.

    A device's clock that is wrong by about a multiple of half an hour (a wrong zone) is set right
    by that multiple; within ten minutes nothing is changed, and what lies between is refused. So a
    retry, which has another sentAt, never gets another time, and is recognised.
    """
    path = "originalTimestamp" if call.get("originalTimestamp") else "timestamp"
    if not call.get(path):
        if named:
            raise DraftFault(
                "timestamp",
                "missing_timestamp",
                "a call with a messageId needs the time at which it was made, the same in "
                "every retry; or leave out both",
            )
        return received.receive_us, received.receive_us
    made_us = instant_us(path, call[path])
    sent = call.get("sentAt")
    sent_us = instant_us("sentAt", sent) if sent else received.send_us
    if received.is_history or sent_us is None:
        return made_us, made_us
    ahead_us = sent_us - received.receive_us
    step_us = (ahead_us + SKEW_STEP_US // 2) // SKEW_STEP_US * SKEW_STEP_US
    if abs(ahead_us - step_us) > SKEW_TOLERANCE_US:
        raise DraftFault(
            "sentAt",
            "device_clock_wrong",
            f"the sender's clock is {ahead_us / 60e6:+.0f} minutes from ours, which is no time "
            "zone's mistake; set it right, or send the calls through /v1/import",
        )
    return made_us - step_us, made_us - step_us


def _identify(
    draft: Draft,
    kind: str,
    call: Mapping[str, Any],
    context: Mapping[str, Any],
    traits: Mapping[str, Any],
) -> None:
    draft.identify("user_id", call.get("userId"), "userId")
    draft.identify("cookie", call.get("anonymousId"), "anonymousId")
    if kind == "alias":
        if not call.get("previousId"):
            raise DraftFault("previousId", "no_identifier", "alias needs the former id")
        draft.identify("cookie", call["previousId"], "previousId")
    draft.identify("email", traits.get("email"), "traits.email")
    draft.identify("phone", traits.get("phone"), "traits.phone")
    device = _object(context, "device")
    kind_of_token = PUSH_KINDS.get(str(device.get("type", "")).lower(), "mobile_push_token")
    draft.identify(kind_of_token, device.get("token"), "context.device.token")


def _track(draft: Draft, call: Mapping[str, Any]) -> dict[str, Any]:
    name = call.get("event")
    if not isinstance(name, str) or not name.strip():
        raise DraftFault("event", "missing_type", "name what happened, such as Order Completed")
    said = spoken(name, _object(call, "properties"))
    if not said.type:
        raise DraftFault("event", "bad_type", "needs letters or digits")
    draft.type = said.type
    return said.properties


def _updated(draft: Draft, call: Mapping[str, Any]) -> dict[str, Any]:
    draft.type = ATTRIBUTES_TYPE
    return {TRAITS.get(key, key): value for key, value in _object(call, "traits").items()}


def _viewed(draft: Draft, call: Mapping[str, Any]) -> dict[str, Any]:
    draft.type = "page_viewed"
    named = {key: call[key] for key in ("name", "category") if call.get(key) is not None}
    return {**spoken("page_view", _object(call, "properties")).properties, **named}


def _screen(draft: Draft, call: Mapping[str, Any]) -> dict[str, Any]:
    tree = _viewed(draft, call)
    draft.type = "screen_viewed"
    return tree


def _joined(draft: Draft, call: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(call.get("groupId"), (str, int)) or not str(call["groupId"]):
        raise DraftFault("groupId", "bad_call", "name the group")
    draft.type = "group_joined"
    return {"group_id": str(call["groupId"]), "group": _object(call, "traits")}


def _linked(draft: Draft, call: Mapping[str, Any]) -> dict[str, Any]:
    del call
    draft.type = "identities_linked"
    return {}


_WORDS: dict[str, Callable[[Draft, Mapping[str, Any]], dict[str, Any]]] = {
    "track": _track,
    "identify": _updated,
    "page": _viewed,
    "screen": _screen,
    "group": _joined,
    "alias": _linked,
}


def _circumstances(kind: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """What the context says of device, place and campaign. The IP address is not kept."""
    device, page = _object(context, "device"), _object(context, "page")
    campaign = _object(context, "campaign")
    said = {
        "locale": context.get("locale"),
        "time_zone": context.get("timezone"),
        "platform": str(device["type"]).lower() if device.get("type") else None,
    }
    if kind not in ("identify", "alias"):
        said |= {
            "os": _object(context, "os").get("name"),
            "app_version": _object(context, "app").get("version"),
            "campaign": campaign.get("name"),
            "campaign_source": campaign.get("source"),
            "campaign_medium": campaign.get("medium"),
            "url": page.get("url"),
            "path": page.get("path"),
            "referrer": page.get("referrer"),
        }
    return {key: value for key, value in said.items() if value is not None}


def _object(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise DraftFault(key, "bad_call", "must be an object")
    return found
