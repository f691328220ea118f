"""The life of one message key: reserved, then confirmed or released, or answered otherwise.

Confirming is the permission to send and comes before sending: a crash in between wastes a place,
which is the safe side. Decisions settle: asked twice they change nothing the second time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum


class State(IntEnum):
    """As kept in the database."""

    RESERVED = 1
    CONFIRMED = 2
    RELEASED = 3
    DEFERRED = 4
    DENIED = 5


@dataclass(frozen=True, slots=True)
class Reservation:
    """stand_us: the deadline while reserved, the confirm once confirmed, else when to ask again."""

    state: State
    stand_us: int


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Permission to send was given."""

    confirm_us: int


@dataclass(frozen=True, slots=True)
class Released:
    """The place was given back unused."""


Fact = Confirmed | Released


class Expired(Exception):
    """The place was not confirmed in time: do not send; ask again."""


class NotReserved(Exception):
    """There is no place to confirm."""


def evolve(reservation: Reservation, fact: Fact) -> Reservation:
    if isinstance(fact, Confirmed):
        return Reservation(State.CONFIRMED, fact.confirm_us)
    return replace(reservation, state=State.RELEASED)


def decide_confirm(reservation: Reservation, now_us: int) -> list[Confirmed]:
    """[] when it has been confirmed before. Raises Expired or NotReserved: do not send."""
    if reservation.state is State.CONFIRMED:
        return []
    if reservation.state is not State.RESERVED:
        raise NotReserved(f"it was {reservation.state.name.lower()}")
    if now_us >= reservation.stand_us:
        raise Expired("the reservation has expired; ask for a place again")
    return [Confirmed(now_us)]


def decide_release(reservation: Reservation, now_us: int) -> list[Released]:
    """[] unless a place is held: a confirmed message may have been sent and keeps its place."""
    held = reservation.state is State.RESERVED and now_us < reservation.stand_us
    return [Released()] if held else []


def stands(reservation: Reservation, now_us: int) -> bool:
    """Whether a repeat of the wish gets the first answer; otherwise it is judged anew.

    A confirmed or denied key is remembered. A reservation stands until it expires, a deferral until
    it is due, and what was released may be asked for again.
    """
    if reservation.state in (State.CONFIRMED, State.DENIED):
        return True
    return reservation.state is not State.RELEASED and now_us < reservation.stand_us
