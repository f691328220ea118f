"""Columns of an export: values as they stood when it was pinned, page by page."""

from __future__ import annotations

from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.segments.adapters import member_answers
from services.segments.adapters.names import profile_id_text
from services.segments.core import SegmentsCore
from services.segments.handlers import PartitionAnswers
from services.segments.settings import SegmentsSettings
from tests.integration.segments_stack import TENANT
from tests.unit.segments.world import World

COLUMNS = ["attribute.city", "profile_id", "attribute.tags", "channel.email", "attribute.none"]


class Live:
    """A worker that is where the engine is."""

    live = True

    def position(self) -> common_pb2.Position:
        return common_pb2.Position()

    async def reflects(self, token: str, timeout_s: float) -> None:
        """Nothing is waited for."""


def answers_of(world: World) -> PartitionAnswers:
    core = SegmentsCore(TENANT, 0, 1)
    core.engine = world.engine
    core.live = {"all": None}  # type: ignore[dict-item]
    made = PartitionAnswers(core, SegmentsSettings())
    made.worker = Live()
    return made


async def rows_of(answers: PartitionAnswers, token: str, size: int) -> list[list[str]]:
    rows: list[list[str]] = []
    while token:
        request = api.ReadListingRequest(page_token=token, page_size=size, columns=COLUMNS)
        page = await answers.members(request, -1)
        assert len(page.rows) <= size
        rows += [list(row.values) for row in page.rows]
        token = page.next_page_token
    return rows


async def test_an_export_is_of_the_instant_it_was_pinned() -> None:
    world = World(profiles=5)
    world.link(0, "email", 1)
    world.define("all", {"everyone": True})
    world.until(1)
    for second, who, city in ((2, 0, "Kyiv"), (3, 1, "Lviv"), (4, 0, "Odesa")):
        world.attribute(second, "city", city, profile=who)
    world.attribute(5, "tags", "a", "b", profile=2)
    world.until(6)
    answers = answers_of(world)
    pinned = await answers.members(api.ReadListingRequest(segment_id="all", columns=COLUMNS), -1)
    assert pinned.members == 5
    world.attribute(7, "city", "Poltava", profile=0)
    world.until(8)
    expected = [
        ["Odesa", profile_id_text(1_000), "", "no", ""],
        ["Lviv", profile_id_text(1_001), "", "yes", ""],
        ["", profile_id_text(1_002), "a, b", "no", ""],
        ["", profile_id_text(1_003), "", "no", ""],
        ["", profile_id_text(1_004), "", "no", ""],
    ]
    for size in (1, 2, 5, 100):
        assert await rows_of(answers, pinned.next_page_token, size) == expected


async def test_a_page_is_no_larger_than_a_reply_may_be(monkeypatch) -> None:
    world = World(profiles=20)
    world.define("all", {"everyone": True})
    world.until(1)
    for who in range(20):
        world.attribute(2, "city", "x" * 500, profile=who)
    world.until(3)
    monkeypatch.setattr(member_answers, "PAGE_BYTES_MAX", 2_000)
    answers = answers_of(world)
    asked = api.ReadListingRequest(segment_id="all", columns=COLUMNS)
    pinned = await answers.members(asked, -1)
    page = await answers.members(
        api.ReadListingRequest(page_token=pinned.next_page_token, page_size=100, columns=COLUMNS),
        -1,
    )
    assert 1 <= len(page.rows) < 20
    assert len(await rows_of(answers, pinned.next_page_token, 100)) == 20
