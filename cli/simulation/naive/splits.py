"""Where a live split puts a profile, by the published generator and nothing of the engine's."""

from __future__ import annotations

from hashlib import blake2b

GOLDEN = 0x9E3779B97F4A7C15


def place(salt: str, profile: int) -> int:
    """Thousandths: the profile's number is a step of SplitMix64 begun at the salt's hash."""
    seed = int.from_bytes(blake2b(salt.encode(), digest_size=8).digest(), "little")
    z = (seed + GOLDEN * (profile + 1)) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z = z ^ (z >> 31)
    return (z // 2**32) * 1000 // 2**32
