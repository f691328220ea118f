"""Events whose item has these properties in the catalogue now, counted in a window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.values import Scalar
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.moving import moves, passed
from services.segments.engine.pasts import figures
from services.segments.engine.pasts.adding import elements_by_row, scalars_by_row
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.pasts.past import Past
from services.segments.engine.store.attributes import scalar_of
from services.segments.engine.store.catalogue import key_of

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

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


def naming(part: Partition, leaf: rule.Catalogue, rows: Array) -> Array:
    """Which of many events name an item that has the properties now; each name is asked once."""
    view = part.events.view
    places, bounds = elements_by_row(part, rows, part.names.number_of(leaf.item_property))
    elements = np.stack((view.kind[places], view.value[places], view.exponent[places]), axis=1)
    names, of = np.unique(elements, axis=0, return_inverse=True)
    values = [scalar_of(kind, value, digits, part.texts) for kind, value, digits in names.tolist()]
    holds = part.catalogue.holds
    passing = np.array([not one.missing and holds(leaf.has, one) for one in values], bool)
    found = np.zeros(rows.size, bool)
    found[np.repeat(np.arange(rows.size), np.diff(bounds))[passing[of.ravel()]]] = True
    return found


def of_such(part: Partition, leaf: rule.Catalogue, crowd: Crowd) -> Crowd:
    """The same crowd with no other events than those that name such an item."""

    def take(selector: rule.Selector) -> tuple[Array, Array]:
        rows, owners = crowd.take(selector)
        passing = naming(part, leaf, rows)
        return rows[passing], owners[passing]

    return crowd._replace(take=take)


def _passes(has: rule.Filter, past: Past, name: Scalar, at: int) -> bool:
    """Whether an item passes a filter that moves, at an instant."""
    item = past.part.catalogue.item(key_of(name))
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
