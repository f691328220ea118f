"""A rule that may come: its leaves begin before it does, in pieces between which steps may run.

A definition takes effect at one position of the log, in the step that takes it, and says there who
is in. It must say the same in every life: in one that was killed in its midst, in one that replays.
So nothing about it may depend on how long building takes, and it cannot be spread over steps: what
a step says is what its inputs say.

What can be done before is everything that is no answer. Leaves and what keeps them up (streams,
measures, cursors, bits) are functions of the log up to now, however and whenever they were begun
(`beginnings.py`), and no rule looks at them yet. A definition that finds its leaves up reads their
bits, says the difference and is done; one that does not, because it came another way or this life
began after it was prepared, builds them in its step and says the same later. Preparing is no input,
leaves no trace in what is said, is in no snapshot that is taken up again, and may be given up at
any time.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.segments.engine.language.expressions import Expression, LeafSpec, leaves_of
from services.segments.engine.live.leaves import Leaves
from services.segments.engine.live.walker import Walker
from services.segments.engine.partition import Partition


class Prepared:
    """The leaves of a rule (`held`, those it has come to), kept up until `release`."""

    def __init__(self, part: Partition, walker: Walker, leaves: Leaves) -> None:
        self.part, self.walker, self.leaves = part, walker, leaves
        self.held: list[LeafSpec] = []

    def begin(self, expression: Expression) -> Iterator[None]:
        """Begins what is not kept up already. Rests between pieces; steps may run there."""
        # Room for one segment more is a copy of all memberships now and then.
        self.part.reserve_places(len(self.part.by_place) + 1)
        yield
        yield from self.leaves.ahead(tuple(leaves_of(expression)), self.held)

    def release(self) -> None:
        """Between steps: leaves that no rule has come to look at end. Settles."""
        held, self.held = tuple(self.held), []
        before = len(self.leaves.numbers)
        self.leaves.release(held, settled=not self.walker.carried)
        if len(self.leaves.numbers) != before:
            # Streams may have gone that a question was going to read on.
            self.part.rules_changed()
