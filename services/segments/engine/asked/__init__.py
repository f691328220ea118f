"""Questions from scratch: who, why, when, as of then, and what would be."""
