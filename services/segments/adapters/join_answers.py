"""What a partition hands out of a profile for a trial join; read only."""

from __future__ import annotations

from muster.segments.v1 import joins_pb2 as api
from muster.types.v1.event_pb2 import Identifier
from services.chassis.errors import Precondition
from services.segments.adapters.answering import Answering
from services.segments.engine.asked.joins import export_past
from services.segments.engine.store import persons

PAST_ROWS_MAX = 10_000
"""Events of one profile; about 20 us each."""


class JoinAnswers(Answering):
    """A part of handlers.PartitionAnswers."""

    def print_of(self, identifier: Identifier, path: str) -> tuple[int, int]:
        """The print of an identifier, normalised; InvalidRequest at `path`."""
        return self._print_of(identifier, path)

    async def past(self, request: api.ExportPastRequest, profile: int) -> api.ProfilePast:
        """The past of a profile of this partition, and what it is a member of."""
        await self.reach(request.at_least)
        part = self.engine.part
        rows = persons.rows_of(part, part.people.row_of(profile)).size
        if rows > PAST_ROWS_MAX:
            # It is written row by row while no step can be made.
            raise Precondition(
                f"{rows:,} events are more than a preview takes ({PAST_ROWS_MAX:,}); "
                "ListProfileEvents and CheckMemberships show what there is"
            )
        past = export_past(part, profile)
        past.member_of.extend(
            name for name in sorted(self.core.live) if self.engine.is_member(profile, name)
        )
        past.position.CopyFrom(self.position())
        size = past.ByteSize()
        if 0 < request.bytes_max < size:
            raise Precondition(f"a past of {size:,} bytes does not fit the way between partitions")
        return past
