"""`make demo`: the mission's segments over real histories and live events, moving in a terminal."""
