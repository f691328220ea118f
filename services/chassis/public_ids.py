"""Public ids of profiles as text: 64 bits, shown as p_ and 13 digits of Crockford's base32."""

from __future__ import annotations

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 13


def text_of(public_id: int) -> str:
    """`p_…` of a public id, as identity says it."""
    digits = []
    for _ in range(_LENGTH):
        digits.append(_DIGITS[public_id & 31])
        public_id >>= 5
    return "p_" + "".join(reversed(digits))
