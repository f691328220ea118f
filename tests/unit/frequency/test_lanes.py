"""Many callers, few runs."""

from __future__ import annotations

import asyncio

import pytest

from services.chassis.errors import Overloaded
from services.frequency.adapters.lanes import Lanes


class Runs:
    """Doubles its items once it is let go; remembers what came together."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.let_go = asyncio.Event()
        self.at_once = self.most_at_once = 0

    async def run(self, items: list[int]) -> list[int]:
        self.together.append(items)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.let_go.wait()
        self.at_once -= 1
        if -1 in items:
            raise ZeroDivisionError
        return [2 * item for item in items]


async def test_what_waits_goes_together_and_whole_calls_fit() -> None:
    runs = Runs()
    lanes = Lanes(runs.run, lanes=1, items_max=4, waiting_max=100)
    calls = [asyncio.create_task(lanes.ask(items)) for items in ([1], [2, 3], [4, 5], [6], [7, 8])]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    runs.let_go.set()
    assert await asyncio.gather(*calls) == [[2], [4, 6], [8, 10], [12], [14, 16]]
    assert runs.together == [[1, 2, 3], [4, 5, 6], [7, 8]]
    assert runs.most_at_once == 1


async def test_a_failed_run_fails_its_callers_and_the_next_goes_on() -> None:
    runs = Runs()
    lanes = Lanes(runs.run, lanes=1, items_max=1, waiting_max=100)
    runs.let_go.set()
    with pytest.raises(ZeroDivisionError):
        await lanes.ask([-1])
    assert await lanes.ask([1]) == [2]


async def test_a_caller_that_goes_away_takes_nothing_with_it() -> None:
    runs = Runs()
    lanes = Lanes(runs.run, lanes=1, items_max=4, waiting_max=100)
    gone = asyncio.create_task(lanes.ask([1]))
    stays = asyncio.create_task(lanes.ask([2]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()
    runs.let_go.set()
    assert await stays == [4]


async def test_too_many_waiting_are_refused() -> None:
    runs = Runs()
    lanes = Lanes(runs.run, lanes=1, items_max=2, waiting_max=3)
    first = asyncio.create_task(lanes.ask([1, 2]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(lanes.ask([3, 4]))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await lanes.ask([5, 6])
    runs.let_go.set()
    assert await first == [2, 4]
    assert await second == [6, 8]
