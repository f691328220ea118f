"""Events whose item has these properties in the catalogue now, counted in a window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.arrays import Array
from services.segments.engine.pasts import figures
from services.segments.engine.pasts.adding import scalars_by_row
from services.segments.engine.pasts.past import Past


def joined(leaf: rule.Catalogue, past: Past, at: int) -> Array:
    """The events that name an item which has the properties, whatever the window."""
    part, rows = past.part, past.taken(leaf.events, at).rows
    if not rows.size:
        return rows
    named = scalars_by_row(part, rows, part.names.number_of(leaf.item_property))
    holds = part.catalogue.holds
    return rows[np.array([any(holds(leaf.has, one) for one in names) for names in named], bool)]


def course(leaf: rule.Catalogue, past: Past, at: int) -> Iterator[tuple[int, bool]]:
    """The answer at an instant, then every instant at which it turns if nothing more happens."""
    only = Past(past.part, past.row)
    only.without_records = past.without_records
    only.give(leaf.events, joined(leaf, past, at))
    counted = rule.EventsAre(leaf.events, leaf.window, rule.Aggregate(), leaf.comparison)
    return figures.course(counted, only, at)
