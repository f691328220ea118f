"""Patterns: RE2 only, so that no rule can make matching slow (google-re2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from services.segments.domain.values import TEXT, Op, Scalar, Test, normal_text, satisfies_one


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """The compiled pattern. Raises ValueError that says what is wrong with it."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "malformed"
        if isinstance(reason, bytes):
            reason = reason.decode("utf-8", "replace")
        raise ValueError(f"not an RE2 pattern: {reason}") from error


def element_satisfies(test: Test, value: Scalar) -> bool:
    """`satisfies_one` with patterns: whether one present element satisfies a positive test."""
    if test.op is not Op.MATCHES:
        return satisfies_one(test, value)
    if value.kind != TEXT or value.missing:
        return False
    return compiled(test.values[0].text).search(normal_text(value.text)) is not None
