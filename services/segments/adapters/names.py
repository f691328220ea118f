"""What things are called outside: profiles, transitions, and where partitions ask each other."""

from __future__ import annotations

import hashlib

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_PROFILE_DIGITS = 13


def profile_id_text(public_id: int) -> str:
    """A public id of 64 bits as callers see it: `p_` and 13 digits of base32 (Crockford)."""
    digits = []
    for _ in range(_PROFILE_DIGITS):
        digits.append(_DIGITS[public_id & 31])
        public_id >>= 5
    return "p_" + "".join(reversed(digits))


def public_id_of(profile_id: str) -> int:
    """The 64 bits of `p_…`; ValueError when it is not a profile id."""
    digits = profile_id.removeprefix("p_").lower()
    if not profile_id.startswith("p_") or len(digits) != _PROFILE_DIGITS:
        raise ValueError(f"{profile_id!r} is not a profile id: it looks like p_1c7qk3v9x0a2m")
    public_id = 0
    for digit in digits:
        value = _VALUES.get(digit)
        if value is None:
            raise ValueError(f"{profile_id!r} is not a profile id: {digit!r} cannot stand in one")
        public_id = public_id << 5 | value
    if public_id >= 1 << 64:
        raise ValueError(f"{profile_id!r} is not a profile id: it is larger than 64 bits")
    return public_id


def transition_id(tenant: str, segment_id: str, version: int, public_id: int, ordinal: int) -> str:
    """Derived, so that everybody who names a transition names it alike: 32 hex digits.

    The same for a watch, a trigger and a replay; a subscriber deduplicates by it.
    """
    named = f"{tenant}\0{segment_id}\0{version}\0{public_id:016x}\0{ordinal}"
    return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()


def print_text(high: int, low: int) -> str:
    """A 128-bit print as 32 hex digits; empty for none (time alone)."""
    return f"{high:016x}{low:016x}" if high or low else ""
