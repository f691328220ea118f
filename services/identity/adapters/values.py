"""Attributes and properties as the contract's values."""

from __future__ import annotations

from muster.types.v1 import common_pb2
from services.chassis.parking import timestamp
from services.identity.engine.attributes import Given


def value_of(given: list[Given]) -> common_pb2.Value:
    """An attribute or property: one value, or the list of its items."""
    if len(given) == 1 and given[0][0] == 0:
        return _single(given[0])
    items = [_single(one) for one in sorted(given)]
    return common_pb2.Value(list=common_pb2.ValueList(values=items))


def _single(given: Given) -> common_pb2.Value:
    _, kind, value, exponent, text = given
    answer = common_pb2.Value()
    if kind == 1:
        answer.text = text.decode()
    elif kind == 2:
        answer.whole = value
    elif kind == 3:
        answer.decimal.units, answer.decimal.exponent = value, exponent
    elif kind == 4:
        answer.flag = bool(value)
    elif kind == 5:
        answer.time.CopyFrom(timestamp(value))
    else:
        raise AssertionError(f"an attribute of kind {kind} was stored")
    return answer
