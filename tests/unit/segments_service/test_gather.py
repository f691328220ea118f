"""Answers put together from partitions, and what travels between their processes."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis import errors
from services.chassis.application import position_of
from services.chassis.checkpoint import Origin
from services.segments.adapters import gather
from services.segments.adapters.asks import NOBODY, refusal_of, refusal_text
from services.segments.adapters.listings import Listings


class Elsewhere:
    """A partition whose members are 0 … n - 1, named `<partition>-<member>`."""

    def __init__(self, place: int, members: int, knows: int = NOBODY) -> None:
        self.place = place
        self.members = members
        self.knows = knows
        self.position = position_of(Origin(10 + place, 20 - place), 1_000 - place)

    async def ask(self, question: str, request: Message, profile: int = NOBODY) -> Any:
        return getattr(self, question)(request)

    def locate(self, request: Any) -> Int64Value:
        return Int64Value(value=self.knows)

    def count(self, request: Any) -> api.CountMembersResponse:
        size = segments.SegmentSize(segment_id="a", version=1, members=self.members)
        only_here = segments.SegmentSize(segment_id=f"only-{self.place}", members=1)
        return api.CountMembersResponse(sizes=[size, only_here], position=self.position)

    def list(self, request: Any) -> api.ListMembersResponse:
        if not request.page_token:
            token = "pin:0" if self.members else ""
            return api.ListMembersResponse(next_page_token=token, position=self.position)
        start = int(request.page_token.split(":")[1])
        end = min(start + request.page_size, self.members)
        return api.ListMembersResponse(
            profile_ids=[f"{self.place}-{member}" for member in range(start, end)],
            next_page_token=f"pin:{end}" if end < self.members else "",
        )


async def pages(partitions: list[Any], size: int) -> list[api.ListMembersResponse]:
    found, token = [], ""
    while not found or token:
        request = api.ListMembersRequest(segment_id="a", page_size=size, page_token=token)
        found.append(await gather.list_members(partitions, request))
        token = found[-1].next_page_token
    return found


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
async def test_pages_name_every_member_once_at_one_position(size: int) -> None:
    partitions = [Elsewhere(0, 4), Elsewhere(1, 0), Elsewhere(2, 5)]
    found = await pages(partitions, size)
    ids = [one for page in found for one in page.profile_ids]
    assert ids == [f"0-{n}" for n in range(4)] + [f"2-{n}" for n in range(5)]
    assert all(len(page.profile_ids) == size for page in found[:-1])
    assert {page.position.token for page in found} == {Origin(10, 18).token()}
    assert {page.position.time.ToMicroseconds() for page in found} == {998}


async def test_a_token_of_another_listing_or_of_nobody_is_refused() -> None:
    partitions: list[Any] = [Elsewhere(0, 4)]
    token = (await pages(partitions, 2))[0].next_page_token
    for request in (
        api.ListMembersRequest(segment_id="b", page_token=token),
        api.ListMembersRequest(segment_id="a", page_token="nonsense"),
        api.ListMembersRequest(segment_id="a", page_token="W10="),
        api.ListMembersRequest(segment_id="a", page_token="é"),
    ):
        with pytest.raises(errors.InvalidRequest, match="page_token"):
            await gather.list_members(partitions, request)


async def test_sizes_add_up_where_every_partition_has_the_segment() -> None:
    partitions: list[Any] = [Elsewhere(0, 4), Elsewhere(1, 3)]
    answer = await gather.count_members(partitions, api.CountMembersRequest())
    assert [(size.segment_id, size.members) for size in answer.sizes] == [("a", 7)]
    assert answer.position.token == Origin(10, 19).token()


async def test_the_partition_that_holds_a_profile_stands_before_one_that_names_it() -> None:
    ref = common_pb2.ProfileRef(profile_id="p_0000000000000")
    assert await gather.find_profile([Elsewhere(0, 0, 4), Elsewhere(1, 0, 7)], ref, "") == 4
    assert await gather.find_profile([Elsewhere(0, 0, 5), Elsewhere(1, 0, 7)], ref, "") == 7
    assert await gather.find_profile([Elsewhere(0, 0, 5), Elsewhere(1, 0)], ref, "") == 5
    with pytest.raises(errors.NotFound):
        await gather.find_profile([Elsewhere(0, 0), Elsewhere(1, 0)], ref, "")


async def test_one_refusal_ends_the_question_at_once() -> None:
    class Silent(Elsewhere):
        async def ask(self, question: str, request: Message, profile: int = NOBODY) -> Any:
            await asyncio.sleep(30)

    class Refusing(Elsewhere):
        async def ask(self, question: str, request: Message, profile: int = NOBODY) -> Any:
            raise errors.NotReady("partition 1")

    async with asyncio.timeout(2):
        with pytest.raises(errors.NotReady, match="partition 1"):
            await gather.count_members([Silent(0, 1), Refusing(1, 1)], api.CountMembersRequest())


@pytest.mark.parametrize(
    "refusal",
    [
        errors.NotFound("no segment ü"),
        errors.Conflict("first"),
        errors.Precondition("not so"),
        errors.OutOfRange("gone"),
        errors.NotReady("later", 2.5),
        errors.Overloaded("full", 7.0),
        errors.InvalidRequest([("condition.all[0]", "wrong"), ("", "and\nmore")]),
    ],
)
def test_a_refusal_is_the_same_on_the_other_side(refusal: errors.Refusal) -> None:
    text = refusal_text(refusal)
    assert text.isascii()
    assert "\n" not in text
    back = refusal_of(text)
    assert type(back) is type(refusal)
    assert str(back) == str(refusal)
    for name in ("faults", "retry_s"):
        assert getattr(back, name, None) == getattr(refusal, name, None)


def test_listings_keep_to_their_limits_of_number_bytes_and_age() -> None:
    listings = Listings(listings_max=2, bytes_max=40, kept_s=10)
    five = np.arange(5, dtype=np.uint32)
    listings.pin("one", "a", five, 0)
    listings.pin("two", "a", five, 1)
    assert listings.read("one", 9.9).segment_id == "a"
    with pytest.raises(errors.OutOfRange, match="first page"):
        listings.read("one", 10)
    listings.pin("three", "a", five, 2)
    with pytest.raises(errors.OutOfRange):
        listings.read("one", 2)
    listings.read("two", 2)
    listings.pin("large", "a", np.arange(10, dtype=np.uint32), 3)
    assert listings.bytes == 40
    listings.read("large", 3)
    with pytest.raises(errors.OutOfRange):
        listings.read("three", 3)
