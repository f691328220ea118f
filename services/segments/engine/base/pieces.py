"""Work done in pieces, between which steps may run."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Work = Generator[None, None, T]
"""Yields between pieces."""
Pieces = Generator[int, None, T]
"""Yields, between pieces, how often the question has begun."""


def finished(work: Generator[object, None, T]) -> T:
    """What comes of some work when nothing may come in between."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: T = end.value
            return found
