"""What is wrong with a rule: every fault with its place and what to do about it."""

from __future__ import annotations


class ConditionFaults(Exception):
    """A rule that cannot be evaluated. faults: (path such as all[0].event.window, message)."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path or 'condition'}: {message}" for path, message in faults))
        self.faults = faults
