"""Strategies, reservations, deferred asks, tallies; position and outbox."""

from alembic import op

from services.chassis import database, follower, outbox

revision = "frequency_0001"
down_revision = None

TABLES = """
create table strategy_version (
    number integer generated always as identity primary key,
    tenant text not null,
    strategy_id text not null,
    version integer not null,
    body bytea not null,
    defined_us bigint not null,
    request_id text not null,
    unique (tenant, strategy_id, version)
);
create unique index strategy_request on strategy_version (tenant, request_id)
    where request_id <> '';

-- What limits tell messages apart by.
create table kind (
    number integer generated always as identity primary key,
    tenant text not null,
    message_type text not null,
    channel text not null,
    unique (tenant, message_type, channel)
);

-- One row per message key. state: domain/reservation.py. slot: hash of tenant, strategy and
-- profile, which is also the advisory lock; null when the row never counts. stand_us: the deadline
-- while reserved, the confirm once confirmed, else when the key may be asked again.
create table reservation (
    slot bigint,
    strategy integer not null,
    kind integer not null,
    state smallint not null,
    decided_us bigint not null,
    first_us bigint not null,
    deadline_us bigint not null,
    stand_us bigint not null,
    message_key text collate "C" not null,
    tenant text collate "C" not null,
    profile_id text collate "C" not null,
    receipt bytea,
    primary key (message_key, tenant)
) with (fillfactor = 90);
create index reservation_slot on reservation (slot) where slot is not null;
create index reservation_age on reservation using brin (decided_us);

-- Deferred messages that a trigger asked for: judged again when due.
create table deferred_ask (
    tenant text not null,
    message_key text not null,
    profile_id text not null,
    strategy_id text not null,
    segment_id text not null,
    message bytea not null,
    due_us bigint not null,
    primary key (tenant, message_key)
);
create index deferred_ask_due on deferred_ask (tenant, due_us);

-- One row per transaction, decision and rule; summed to minutes later.
create table tally (
    tenant text not null,
    strategy_id text not null,
    at_us bigint not null,
    what text not null,
    rule text not null,
    count bigint not null
);
create index tally_by_strategy on tally (tenant, strategy_id, at_us);
"""


def upgrade() -> None:
    op.execute(database.CLOCK)
    op.execute(TABLES)
    op.execute(follower.TABLE)
    op.execute(outbox.TABLE)
