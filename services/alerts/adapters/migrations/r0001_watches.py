"""Watches and their state, members by partition, points, notices; position and outbox."""

from alembic import op

from services.chassis import database, follower, outbox

revision = "alerts_0001"
down_revision = None

TABLES = """
-- One row per version. begin_us: start of the first point; null until the follower has taken it up.
-- state, sums: JSON of what the watch remembers and of its open points, moved with the position.
create table watch (
    tenant text not null,
    watch_id text collate "C" not null,
    version integer not null,
    body bytea not null,
    request_id text not null,
    defined_us bigint not null,
    ended boolean not null default false,
    next_us bigint,
    state text not null,
    sums text not null,
    primary key (tenant, watch_id, version)
);
create unique index watch_in_force on watch (tenant, watch_id) where not ended;
create unique index watch_request on watch (tenant, request_id) where request_id <> '';

-- Raised with every change of a definition, so that the follower reads them again.
create table registry (
    one boolean primary key default true check (one),
    revision bigint not null default 0
);
insert into registry default values;

create table members (
    tenant text not null,
    segment integer not null,
    partition integer not null,
    segment_id text not null,
    members bigint not null,
    primary key (tenant, segment, partition)
);

create table point (
    tenant text not null,
    watch_id text collate "C" not null,
    from_us bigint not null,
    to_us bigint not null,
    value bigint not null,
    primary key (tenant, watch_id, from_us)
);
create index point_age on point (tenant, to_us);

create table notice (
    tenant text not null,
    number bigint not null,
    watch_id text collate "C" not null,
    body bytea not null,
    primary key (tenant, number)
);
create index notice_by_watch on notice (tenant, watch_id, number);
"""


def upgrade() -> None:
    op.execute(database.CLOCK)
    op.execute(TABLES)
    op.execute(follower.TABLE)
    op.execute(outbox.TABLE)
