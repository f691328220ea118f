"""The segments service's limits, each with its unit last."""

from __future__ import annotations

from pydantic import Field, model_validator

from services.chassis.settings import Settings


class SegmentsSettings(Settings):
    """What a process of segments reads, engine or relay."""

    phone_country: str = ""
    """Country (ISO code) of telephone numbers without a +, in questions; as ingest has it."""

    # Rules.
    condition_bytes_max: int = 128 << 10
    """On the wire; depth and leaves are limits of the engine."""
    cool_down_days_max: int = 3_660
    define_attempts_max: int = 16
    """Other doors that may be first before a definition is refused as a conflict."""
    live_wait_ms: int = 5_000
    """How long a definition's caller waits for every partition to have built it."""
    prepare_wait_ms: int = 20_000
    """How long a definition's caller waits for the partitions to have begun what it needs; after
    that the definition itself begins it, and holds its step as long."""
    prepared_max: int = 64
    """Rules of which a partition keeps up what they need before they are defined …"""
    prepared_kept_ms: int = 30_000
    """… and for how long."""
    requests_remembered_max: int = 100_000
    """Request ids of definitions whose repeat is answered, not done again."""

    # Lists.
    list_items_max: int = 10_000
    """People of one call, or of one message of an import."""
    import_rows_max: int = 10_000_000
    rejected_rows_max: int = 1_000
    """Rejected rows a receipt names; the rest it counts."""

    cuts_every_ms: int = 1_000
    """How often partition 0 looks whether a local midnight has passed without its RFM cuts."""

    export_keys: str = Field("", pattern=r"^\s*([a-z][a-z0-9-]{0,62}:[0-9A-Fa-f]{64}(\s+|$))*$")
    """Who may take members out: `<name>:<SHA-256 of the key in hex>`, separated by spaces; empty is
    whoever reaches the port."""

    # Questions.
    at_least_wait_ms: int = 5_000
    """How long a question waits for the position it asks for."""
    ask_timeout_ms: int = 2_000
    """How long another partition may take, on top of waits the question itself asks for."""
    slice_ms: float = 5.0
    """Longest stretch of a question before steps may run again."""
    check_segments_max: int = 1_000
    page_members_max: int = 10_000
    page_segments_max: int = 1_000
    sample_profiles_max: int = 100

    variants_profiles_max: int = 5_000
    """Profiles whose variants one call may ask for: question and answer are a message each."""
    variants_bytes_max: int = 900 << 10
    """Of such a question."""

    # Pages of members, pinned to the position of the first one.
    listings_max: int = 64
    listings_bytes_max: int = 256 << 20
    listing_kept_ms: int = 300_000

    # Watches.
    watches_max: int = 100
    watch_segments_max: int = 1_000
    watch_quiet_ms: int = 5_000
    """A watch that has nothing to say sends its resume token this often."""

    ready_lag_ms: int = 10_000
    """Ready while the log time reached lies at most this far behind, or nothing waits."""

    @model_validator(mode="after")
    def _partition_exists(self) -> SegmentsSettings:
        if self.partition >= self.partitions:
            raise ValueError(
                f"MUSTER_PARTITION is {self.partition}, but MUSTER_PARTITIONS is "
                f"{self.partitions}: partitions count from 0"
            )
        return self
