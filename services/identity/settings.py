"""identity's limits, each with its unit last."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from services.chassis.settings import Settings
from services.identity.domain.kinds import PRIORITY, Rules


class IdentitySettings(Settings):
    """What the identity process reads.

    The rules are those a log begins with, and part of what it was folded by: changed here on a log
    that exists, the recorded steps no longer match and the process says so and stops. A tenant's
    rules change by ChangeIdentityRules.
    """

    identifier_limits: dict[str, PositiveInt] = {"user_id": 1}
    """How many of a kind one profile may hold; kinds not named have no limit."""
    identifier_priority: tuple[str, ...] = PRIORITY
    """Strongest first; kinds not named follow by name."""
    shared_others_max: int = Field(100, ge=1)
    """An identifier that came with more different others is ignored as a whole."""
    profile_identifiers_max: int = Field(200, ge=1)
    """The size brake: a profile with so many identifiers takes no more."""
    phone_country: str = Field("", pattern=r"^([A-Za-z]{2})?$")
    """As ingest has it: where telephone numbers without a leading + are dialled."""
    call_identifiers_max: int = Field(20, ge=2)
    """How many identifiers one call may name."""
    timeline_rows_max: int = Field(2_000_000, ge=1)
    """Newest rows of the tenant that timelines find (24 bytes each); older ones lie in the log."""
    at_least_wait_ms: int = 5_000
    """How long a question waits for the position it asks for."""

    def rules(self) -> Rules:
        return Rules(
            self.identifier_priority,
            self.identifier_limits,
            self.shared_others_max,
            self.profile_identifiers_max,
        )
