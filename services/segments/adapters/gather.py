"""Answers over all partitions, put together at the smallest of their positions."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Sequence

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis.application import position_of
from services.chassis.checkpoint import Origin
from services.chassis.errors import InvalidRequest, NotFound
from services.chassis.subjects import partition_of
from services.segments.adapters.asks import NOBODY, Partition, ask_all

PAGE_MEMBERS_DEFAULT = 1_000


def smallest(positions: Iterable[common_pb2.Position]) -> common_pb2.Position:
    """What all of the positions reflect: the smallest of their origins and of their times."""
    known = list(positions)
    origins = [Origin.parse(one.token) for one in known]
    origin = Origin(min(o.intake for o in origins), min(o.control for o in origins))
    return position_of(origin, min(one.time.ToMicroseconds() for one in known))


async def find_profile(
    partitions: list[Partition], ref: common_pb2.ProfileRef, at_least: str
) -> int:
    """The dense number of the profile named; NotFound when no partition knows it.

    A merge across partitions reaches them one after the other: the profile that a partition holds
    itself stands before one it only names.
    """
    asked = api.CheckMembershipsRequest(profile=ref, at_least=at_least)
    answers = await ask_all(partitions, "locate", asked)
    numbers = [(place, answer.value) for place, answer in enumerate(answers)]
    named = [number for _, number in numbers if number != NOBODY]
    for place, number in numbers:
        if number != NOBODY and partition_of(number, len(partitions)) == place:
            return number
    if named:
        return named[0]
    if ref.WhichOneof("ref") == "profile_id":
        raise NotFound(f"no profile {ref.profile_id}")
    raise NotFound(f"no profile has this {ref.identifier.kind}")


async def count_members(
    partitions: list[Partition], request: api.CountMembersRequest
) -> api.CountMembersResponse:
    """Sizes added up; a segment that one partition does not have yet has no size."""
    answers = await ask_all(partitions, "count", request)
    total: dict[str, segments.SegmentSize] = {}
    heard: dict[str, int] = {}
    for answer in answers:
        for size in answer.sizes:
            one = total.setdefault(size.segment_id, segments.SegmentSize())
            members = one.members + size.members
            one.CopyFrom(size)
            one.members = members
            heard[size.segment_id] = heard.get(size.segment_id, 0) + 1
    return api.CountMembersResponse(
        sizes=[one for name, one in total.items() if heard[name] == len(partitions)],
        position=smallest(answer.position for answer in answers),
    )


async def list_members(
    partitions: list[Partition], request: api.ListMembersRequest
) -> api.ListMembersResponse:
    """A page of members, partition by partition, from listings pinned for the first page.

    The token names the listing and place in every partition still to read, and the position of the
    first page, so any process can serve any page.
    """
    left = request.page_size or PAGE_MEMBERS_DEFAULT
    if request.page_token:
        open_listings, position = _read_token(request, len(partitions))
    else:
        pins = await ask_all(partitions, "list", request)
        position = smallest(pin.position for pin in pins)
        open_listings = [
            (place, pin.next_page_token) for place, pin in enumerate(pins) if pin.next_page_token
        ]
    response = api.ListMembersResponse(position=position)
    while open_listings and left:
        place, token = open_listings.pop(0)
        page = api.ListMembersRequest(
            segment_id=request.segment_id, page_size=left, page_token=token
        )
        answer = await partitions[place].ask("list", page)
        response.profile_ids.extend(answer.profile_ids)
        left -= len(answer.profile_ids)
        if answer.next_page_token:
            open_listings.insert(0, (place, answer.next_page_token))
    if open_listings:
        response.next_page_token = written_token(request.segment_id, open_listings, position)
    return response


def written_token(
    segment_id: str, listings: Sequence[tuple[int, str]], position: common_pb2.Position
) -> str:
    """The token of the pages of pinned listings (partition, its own token) of one name."""
    said = [segment_id, list(listings), position.token, position.time.ToMicroseconds()]
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


def _read_token(
    request: api.ListMembersRequest, partitions: int
) -> tuple[list[tuple[int, str]], common_pb2.Position]:
    try:
        said = json.loads(base64.b64decode(request.page_token, b"-_", validate=True))
        segment_id, listings, origin, time_us = said
        read = [(int(place), str(token)) for place, token in listings]
        position = position_of(Origin.parse(origin), int(time_us))
        fits = all(0 <= place < partitions for place, _ in read)
    except (ValueError, TypeError, binascii.Error):
        fits, segment_id = False, ""
    if not fits or segment_id != request.segment_id:
        raise InvalidRequest(
            [("page_token", "not a token of this listing; hand back next_page_token unchanged")]
        )
    return read, position
