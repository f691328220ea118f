"""Members of one partition with columns, pinned at one position and read page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from muster.segments.v1 import service_pb2 as api
from services.chassis import clock
from services.chassis.errors import NotFound
from services.segments.adapters.answering import Answering
from services.segments.adapters.listings import Listing
from services.segments.adapters.names import profile_id_text
from services.segments.domain import conditions as rule
from services.segments.engine.asked.questions import Reader
from services.segments.engine.asked.trials import members_of
from services.segments.engine.language.expressions import express
from services.segments.engine.live.reader import standing_records

PAGE_BYTES_MAX = 512 << 10
"""Of a page of rows: a reply is one message of the broker."""
ROWS_AT_ONCE = 250
"""Rows put into words before steps may run again."""
PROFILE_ID = "profile_id"
PUBLIC_ID = "public_id"
"""Kept of every member: a rename after the pin does not reach the listing."""


class MemberAnswers(Answering):
    """A part of handlers.PartitionAnswers."""

    async def members(
        self, request: api.ReadListingRequest, _profile: int
    ) -> api.ReadListingResponse:
        """Without a token pins the members with their columns; with one, a page of them."""
        await self.reach(request.at_least)
        if not request.page_token:
            return self._pinned(request)
        name, _, offset_text = request.page_token.partition(":")
        offset = int(offset_text)
        listing = self.listings.read(name, clock.monotonic())
        end = min(offset + request.page_size, len(listing.members))
        if request.columns:
            response, end = await self._rows(request, listing, offset, end)
        else:
            response = api.ReadListingResponse(
                numbers=listing.members[offset:end].tolist(),
            )
        if end < len(listing.members):
            response.next_page_token = f"{name}:{end}"
        return response

    def _pinned(self, request: api.ReadListingRequest) -> api.ReadListingResponse:
        if request.segment_id not in self.core.live:
            raise NotFound(f"no segment {request.segment_id}; ListSegments shows what there is")
        part = self.core.engine.part
        rows = np.flatnonzero(members_of(part, request.segment_id))
        members = (rows * part.people.partitions + part.people.partition).astype(np.uint32)
        columns = {name: self._column(name, rows) for name in request.columns if "." in name}
        columns[PUBLIC_ID] = part.people.public_id[rows].copy()
        response = api.ReadListingResponse(members=len(members), position=self.position())
        if len(members):
            name = clock.new_id()
            self.listings.pin(name, request.segment_id, members, clock.monotonic(), columns)
            response.next_page_token = f"{name}:0"
        return response

    def _column(self, name: str, rows: np.ndarray) -> np.ndarray:
        """What a column needs of each row: a record of an attribute (-1: none), or yes and no."""
        part = self.core.engine.part
        kind, _, of = name.partition(".")
        if kind == "attribute":
            return np.asarray(standing_records(part, of)[rows])
        if kind == "channel":
            return np.asarray(Reader(part).answer(express(rule.Reachable(of)))[rows])
        if of not in part.segments:
            return np.zeros(rows.size, bool)
        return np.asarray(members_of(part, of)[rows])

    async def _rows(
        self, request: api.ReadListingRequest, listing: Listing, start: int, end: int
    ) -> tuple[api.ReadListingResponse, int]:
        """Rows from `start` on, to `end` or as many as a reply holds; the place after them."""
        texts = [self._text_of(name, listing) for name in request.columns]
        response, held = api.ReadListingResponse(), 0
        for place in range(start, end):
            row = api.ExportRow(values=[text(place) for text in texts])
            held += row.ByteSize() + 4
            if held > PAGE_BYTES_MAX and place > start:
                return response, place
            response.rows.append(row)
            if place % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return response, end

    def _text_of(self, name: str, listing: Listing) -> Callable[[int], str]:
        """The text of a column for a place of the listing."""
        part = self.core.engine.part
        if name == PROFILE_ID:
            public_ids = listing.columns[PUBLIC_ID]
            return lambda place: profile_id_text(int(public_ids[place]))
        column = listing.columns[name]
        if not name.startswith("attribute."):
            return lambda place: "yes" if column[place] else "no"

        def value(place: int) -> str:
            record = int(column[place])
            if record < 0:
                return ""
            scalars = part.attributes.scalars(record, part.texts)
            return ", ".join(one.plain() for one in scalars)

        return value
