"""Public ids of profiles: 64 bits from the event that first made one, shown as p_ and base32."""

from __future__ import annotations

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_LENGTH = 13
_WORD = (1 << 64) - 1


class BadProfileId(ValueError):
    """Not a profile id; the message shows what one looks like."""


def derived(print_high: int, print_low: int) -> int:
    """The public id of the profile that the event of this print first made.

    A finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators") over both words; the kernel in engine/tables.py computes the same.
    """
    return mixed(print_high ^ (print_low << 29 & _WORD | print_low >> 35))


def mixed(word: int) -> int:
    """A bijection of 64-bit words that spreads every bit."""
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _WORD
    return word ^ word >> 31


def text_of(public_id: int) -> str:
    """`p_` and 13 digits of Crockford's base32."""
    digits = []
    for _ in range(_LENGTH):
        digits.append(_DIGITS[public_id & 31])
        public_id >>= 5
    return "p_" + "".join(reversed(digits))


def parsed(profile_id: str) -> int:
    """The 64 bits of `p_…`; raises BadProfileId."""
    digits = profile_id.removeprefix("p_")
    public_id = 0
    for digit in digits:
        public_id = public_id << 5 | _VALUES.get(digit, 1 << 80)
    if not profile_id.startswith("p_") or len(digits) != _LENGTH or public_id > _WORD:
        raise BadProfileId("a profile id is p_ and 13 digits, such as p_1c7qk3v9x0a2m")
    return public_id
