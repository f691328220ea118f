"""How members are divided into parts: exactly, by shares, in an order that only a salt decides.

The place of a profile is a hash of the salt and its number, so it is the same wherever and whenever
it is computed, and has nothing to do with when people came or what they do. A number is a profile's
for as long as it is one; at a merge the survivor keeps its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

MEMBERS_MIN = 11
"""Of a segment to be split."""
REACHABLE_ADVISED = 2_000
"""Fewer say little about which part did better."""
PERMILLE = 1_000
_WORD = (1 << 64) - 1


def salt_key(salt: str) -> int:
    """What a salt adds to every number: 64 bits."""
    return int.from_bytes(blake2b(salt.encode(), digest_size=8).digest(), "little")


def salted(key: int, number: int) -> int:
    """The place of a profile in the salted order, of 64 bits: SplitMix64 of its number.

    key: of the salt. Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
    """
    z = ((number + 1) * 0x9E3779B97F4A7C15 + key) & _WORD
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _WORD
    return z ^ z >> 31


def permille(key: int, number: int) -> int:
    """The place of a profile in thousandths: 0 to 999."""
    return (salted(key, number) >> 32) * PERMILLE >> 32


def sizes(members: int, shares: Sequence[int]) -> list[int]:
    """Members of each part: they add up to all, each within one of its exact share.

    shares: thousandths, together 1,000, or all 0 for even parts. What is left over goes to the
    largest remainders, of equal ones to the earlier part: 11 in two even parts are 6 and 5.
    """
    weights = list(shares) if any(shares) else [1] * len(shares)
    total = sum(weights)
    found = [members * weight // total for weight in weights]
    remainders = [members * weight % total for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: (-remainders[place], place))
    for place in order[: members - sum(found)]:
        found[place] += 1
    return found
