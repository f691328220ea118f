"""Leaves about what came after what: sequences, and starts that nothing followed."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from services.segments.domain import calendars
from services.segments.domain import conditions as rule
from services.segments.engine.pasts.attributes import sameness
from services.segments.engine.pasts.past import Past
from services.segments.engine.pasts.spans import NEVER, Span, covered

Key = tuple[str, object]
NO_KEY: Key = ("", None)
"""What all rows have in common when no property is asked."""
Found = tuple[int, ...]
"""Rows of one sequence, step by step."""


def keys_of(past: Past, row: int, same: str) -> list[Key]:
    """What a row can have in common with others: each element of a property."""
    if not same:
        return [NO_KEY]
    return list({sameness(one): None for one in past.elements(row, same)})


def steps_reached(leaf: rule.Sequence, past: Past, at: int) -> int:
    """How many of the steps came in order in the window, the bound left aside."""
    low, high = calendars.bounds(leaf.window, at, past.zone(leaf.window, at))
    for count in range(len(leaf.steps), 0, -1):
        shorter = replace(leaf, steps=leaf.steps[:count], within_us=None)
        if any(end <= high for _, end, _ in _chained(shorter, past, at, low)):
            return count
    return 0


def _chained(
    leaf: rule.Sequence, past: Past, at: int, low: int | None
) -> list[tuple[int, int, Found]]:
    """(begin, end, rows) of the sequences in what stands from `low` on: for every row of the last
    step the one that begins last, in order of their ends, if it lies within the bound."""
    steps = [past.taken(selector, at) for selector in leaf.steps]
    marks = [
        (occur, step, row)
        for step, taken in enumerate(steps)
        for occur, row in zip(taken.occur.tolist(), taken.rows.tolist(), strict=True)
        if low is None or occur >= low
    ]
    marks.sort()
    last = len(steps) - 1
    best: dict[tuple[int, Key], tuple[int, Found]] = {}
    found = []
    place = 0
    while place < len(marks):
        # Rows of one instant follow only what came before it: times strictly grow.
        occur, reached = marks[place][0], []
        while place < len(marks) and marks[place][0] == occur:
            _, step, row = marks[place]
            place += 1
            for key in keys_of(past, row, leaf.same):
                before = (occur, ()) if step == 0 else best.get((step - 1, key))
                if before is None:
                    continue
                begin, rows = before
                if step == last:
                    if leaf.within_us is None or occur - begin <= leaf.within_us:
                        found.append((begin, occur, (*rows, row)))
                else:
                    reached.append(((step, key), (begin, (*rows, row))))
        for where, chain in reached:
            if where not in best or best[where][0] <= chain[0]:
                best[where] = chain
    return found


def _timed(leaf: rule.Sequence, past: Past, at: int) -> list[tuple[Span, Found]]:
    """When each sequence lies in the window: from its last step's entry to its first one's exit.
    What has left the window does not come back."""
    zone = past.zone(leaf.window, at)
    low, _ = calendars.bounds(leaf.window, at, zone)
    timed = []
    for begin, end, rows in _chained(leaf, past, at, low):
        first = calendars.stay(leaf.window, begin, zone)
        last = first if begin == end else calendars.stay(leaf.window, end, zone)
        if first is None or last is None:
            continue
        # Steps of two weeks are never in one: the first leaves as the last comes.
        if first[1] is None or last[0] < first[1]:
            timed.append(((last[0], first[1]), rows))
    return timed


def sequence_spans(leaf: rule.Sequence, past: Past, at: int) -> list[Span | None]:
    """When the steps, in order and within the bound, lie in the window."""
    return [span for span, _ in _timed(leaf, past, at)]


def sequence_rows(leaf: rule.Sequence, past: Past, at: int) -> Found:
    """The events of the sequence that stays longest; none when there is none."""
    inside = [
        (NEVER if until is None else until, rows)
        for (begin, until), rows in _timed(leaf, past, at)
        if begin <= at and (until is None or at < until)
    ]
    return max(inside, default=(0, ()))[1]


def open_starts(leaf: rule.NotFollowed, past: Past, at: int) -> list[tuple[int, int]]:
    """(time, row) of the starts that nothing has followed so far, judged yet or not."""
    starts, by = past.taken(leaf.start, at), past.taken(leaf.by, at)
    times: dict[Key, list[int]] = {}
    for occur, row in zip(by.occur.tolist(), by.rows.tolist(), strict=True):
        for key in keys_of(past, row, leaf.same):
            times.setdefault(key, []).append(occur)

    def followed(occur: int, row: int) -> bool:
        for key in keys_of(past, row, leaf.same):
            of_key = times.get(key, [])
            place = bisect_right(of_key, occur)
            if place < len(of_key) and of_key[place] <= occur + leaf.within_us:
                return True
        return False

    every = zip(starts.occur.tolist(), starts.rows.tolist(), strict=True)
    return [(occur, row) for occur, row in every if not followed(occur, row)]


def _open(leaf: rule.NotFollowed, past: Past, at: int) -> list[tuple[Span, int]]:
    """When each start, by its row, counts as not followed."""
    zone = past.zone(leaf.window, at)
    found = []
    for occur, row in open_starts(leaf, past, at):
        span = calendars.stay(leaf.window, occur, zone)
        if span is not None:
            begin, until = max(span[0], occur + leaf.within_us), span[1]
            if until is None or begin < until:
                found.append(((begin, until), row))
    return found


def unfollowed_spans(leaf: rule.NotFollowed, past: Past, at: int) -> list[Span | None]:
    """When a start in the window, whose time is over, has nothing that follows it."""
    return [span for span, _ in _open(leaf, past, at)]


def unfollowed_rows(leaf: rule.NotFollowed, past: Past, at: int) -> list[int]:
    """The starts that count as not followed at an instant."""
    return [row for span, row in _open(leaf, past, at) if covered([span], at)[0]]
