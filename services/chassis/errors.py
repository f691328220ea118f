"""Three kinds of wrong: a refused wish, a world that fails, an invariant that broke.

A refused wish (subclasses of Refusal) is answered to whoever wished. A broken invariant (Stop) ends
the process with a code that says which; nothing is logged and gone on from.
"""

from __future__ import annotations

from enum import IntEnum


class Refusal(Exception):
    """A wish that is not granted; the message says what is wrong and what to do."""


class InvalidRequest(Refusal):
    """The request is wrong. faults: (path of the field, what is wrong and what to do)."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in faults))


class NotFound(Refusal):
    """Nothing of that name exists."""


class Conflict(Refusal):
    """Somebody else changed it first; read again and repeat."""


class Precondition(Refusal):
    """The state does not allow it, and repeating will not help."""


class Unauthenticated(Refusal):
    """Nobody we know: the key is missing or wrong."""


class NotAllowed(Refusal):
    """Known, but this is not theirs to do."""


class OutOfRange(Refusal):
    """The place asked for is no longer (or not yet) kept."""


class NotReady(Refusal):
    """Not now; repeat after retry_s seconds."""

    def __init__(self, why: str, retry_s: float = 1.0) -> None:
        self.retry_s = retry_s
        super().__init__(why)


class Overloaded(NotReady):
    """More than fits; what was refused was not stored. Repeat after retry_s seconds."""


class ExitCode(IntEnum):
    """Why a worker ended itself; docs/operations.md says what to do for each."""

    FENCED = 10
    """Another owner committed first. It comes back as a standby."""
    GAP = 11
    """A dense number is missing in an input or in our own subject: the log is damaged."""
    UNKNOWN = 12
    """A commit was not answered, or the broker could not be read. The next life reads the log."""
    DIVERGED = 13
    """Replay gave other facts than the log holds: a defect, or another version of the engine."""
    LOST = 14
    """The log is older than our snapshot, or no longer holds what we need."""
    DISCONNECTED = 15
    """The connection to the broker closed."""
    CLOCK = 16
    """The broker's clock jumped against ours."""
    DEFECT = 17
    """An exception nobody expected."""


class Stop(Exception):
    """A broken invariant or an unknown outcome: the process ends with `code`."""

    def __init__(self, code: ExitCode, why: str) -> None:
        self.code = code
        super().__init__(why)
