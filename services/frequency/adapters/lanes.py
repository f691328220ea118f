"""Gathers what many callers ask at once into few transactions.

While a lane's transaction is out, what arrives waits and goes together in the next one: alone a
call costs one transaction, under load many share it. A call is never cut apart here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from services.chassis.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lanes(Generic[Item, Result]):
    """run: does a list of items, one answer each. At most `lanes` run at the same time."""

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[list[Result]]],
        lanes: int,
        items_max: int,
        waiting_max: int,
    ) -> None:
        self._run = run
        self._free = lanes
        self._items_max = items_max
        self._waiting_max = waiting_max
        self._waiting = 0
        self._queue: deque[tuple[list[Item], asyncio.Future[list[Result]]]] = deque()
        self._busy: set[asyncio.Task[None]] = set()

    async def ask(self, items: Sequence[Item]) -> list[Result]:
        """The answers to `items`, decided together and in order; at most items_max.

        Raises Overloaded when too many wait, and whatever the run raised.
        """
        if self._waiting + len(items) > self._waiting_max:
            raise Overloaded(f"{self._waiting} wishes are waiting; nothing was decided", 0.5)
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._queue.append((list(items), answer))
        self._waiting += len(items)
        if self._free:
            self._free -= 1
            task = asyncio.create_task(self._lane(), name="lane")
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        return await answer

    async def _lane(self) -> None:
        try:
            while self._queue:
                await self._together()
        finally:
            self._free += 1

    async def _together(self) -> None:
        """Runs as many waiting calls as fit. Not cancelled with its callers."""
        calls = [self._queue.popleft()]
        size = len(calls[0][0])
        while self._queue and size + len(self._queue[0][0]) <= self._items_max:
            calls.append(self._queue.popleft())
            size += len(calls[-1][0])
        self._waiting -= size
        try:
            results = await self._run([item for items, _ in calls for item in items])
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            for _, answer in calls:
                if not answer.done():
                    answer.set_exception(error)
            return
        begin = 0
        for items, answer in calls:
            if not answer.done():
                answer.set_result(results[begin : begin + len(items)])
            begin += len(items)
