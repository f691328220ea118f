"""Events whose item has these properties in the catalogue now, counted in a window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.values import Scalar
from services.segments.engine.arrays import Array
from services.segments.engine.catalogue import key_of
from services.segments.engine.moving import moves, passed
from services.segments.engine.pasts import figures
from services.segments.engine.pasts.adding import scalars_by_row
from services.segments.engine.pasts.past import Past

EVERY = rule.Selector()
"""Stands for the rows given."""


def joined(leaf: rule.Catalogue, past: Past, at: int) -> Array:
    """The events that name an item which has the properties, whatever the window."""
    part, rows = past.part, past.taken(leaf.events, at).rows
    if not rows.size:
        return rows
    named = scalars_by_row(part, rows, part.names.number_of(leaf.item_property))
    if moves(leaf.has):
        return rows[[any(_passes(leaf.has, past, one, at) for one in names) for names in named]]
    holds = part.catalogue.holds
    return rows[np.array([any(holds(leaf.has, one) for one in names) for names in named], bool)]


def _passes(has: rule.Filter, past: Past, name: Scalar, at: int) -> bool:
    """Whether an item passes a filter that moves, at an instant."""
    item = past.part.catalogue.items.get(key_of(name))
    holds, edge = passed(has, {} if item is None else item.properties, at)
    past.edge_us = min(past.edge_us, edge)
    return holds


def course(leaf: rule.Catalogue, past: Past, at: int) -> Iterator[tuple[int, bool]]:
    """The answer at an instant, then every instant at which it turns if nothing more happens."""
    only = Past(past.part, past.row)
    only.without_records = past.without_records
    only.give(EVERY, joined(leaf, past, at))
    counted = rule.EventsAre(EVERY, leaf.window, rule.Aggregate(), leaf.comparison)
    return figures.course(counted, only, at)
