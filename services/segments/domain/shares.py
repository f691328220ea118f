"""How members are divided into parts: exactly, by shares, in an order that only a salt decides.

The order of a profile is a hash of the salt and its public id, so it is the same wherever and
whenever it is computed, and has nothing to do with when people came or what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

MEMBERS_MIN = 11
"""Of a segment to be split."""
REACHABLE_ADVISED = 2_000
"""Fewer say little about which part did better."""
PERMILLE = 1_000


def salted(salt: str, public_id: int) -> int:
    """The place of a profile in the salted order: 64 bits of BLAKE2b, keyed by the salt."""
    key = blake2b(salt.encode(), digest_size=32).digest()
    said = blake2b(public_id.to_bytes(8, "little"), digest_size=8, key=key).digest()
    return int.from_bytes(said, "little")


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
