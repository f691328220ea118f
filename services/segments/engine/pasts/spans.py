"""Answers that are a union of stretches of time: [from, until), until None for ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.segments.engine.language.moving import NEVER

__all__ = ["NEVER", "Span", "Verdict", "covered", "edges"]

Span = tuple[int, int | None]
Verdict = tuple[bool, int | None]
"""(whether a leaf holds at an instant, the next instant at which that may change by time alone)."""


def covered(spans: Iterable[Span | None], at: int) -> Verdict:
    """Whether an instant lies in one of some spans, and when that may change next."""
    found = [span for span in spans if span is not None]
    inside = [until for begin, until in found if begin <= at and (until is None or at < until)]
    if inside:
        ends = [until for until in inside if until is not None]
        return True, max(ends) if len(ends) == len(inside) else None
    return False, min((begin for begin, _ in found if begin > at), default=None)


def edges(spans: Iterable[Span | None], at: int) -> Iterator[tuple[int, bool]]:
    """(at, whether it lies in one of some spans), then every instant at which that turns."""
    merged: list[list[int]] = []
    for begin, end in sorted((b, NEVER if e is None else e) for b, e in filter(None, spans)):
        if end <= at:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    if not merged or merged[0][0] > at:
        yield at, False
    for begin, end in merged:
        yield max(begin, at), True
        if end < NEVER:
            yield end, False
