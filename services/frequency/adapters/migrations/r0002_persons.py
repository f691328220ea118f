"""Who is one person: which id of a profile went into which, as identity says."""

from alembic import op

revision = "frequency_0002"
down_revision = "frequency_0001"

TABLES = """
-- into_id: the profile that this id stands for part of now; null when it stands for itself (again).
-- said: place in identity's order of what said so; what is older never replaces it. changed: the
-- version of the tenant's persons that it came with.
create table person (
    tenant text collate "C" not null,
    profile_id text collate "C" not null,
    into_id text collate "C",
    said bigint not null,
    changed bigint not null,
    primary key (tenant, profile_id)
);
create index person_changed on person (tenant, changed);
create table person_version (
    tenant text collate "C" primary key,
    version bigint not null
);
create index person_into on person (tenant, into_id) where into_id is not null;

-- The ids that these stand for now, in their order. `union` ends what would go round.
create function standing_ids(of_tenant text, ids text[]) returns setof text
language sql stable as $$
    with recursive up as (
        select place, id collate "C" as id, 0 as depth
        from unnest(ids) with ordinality as wanted (id, place)
        union
        select up.place, p.into_id, up.depth + 1 from up
            join person p on p.tenant = of_tenant and p.profile_id = up.id
            where p.into_id is not null and up.depth < 1000
    )
    select (array_agg(id order by depth desc))[1] from up group by place order by place
$$;

-- The same, and nobody becomes another person before the transaction ends.
create function held_ids(key bigint, of_tenant text, ids text[]) returns setof text
language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock_shared(key);
    return query select standing_ids(of_tenant, ids);
end
$$;

-- The slots of messages, which nobody moves before the transaction ends.
create function held_slots(key bigint, of_tenant text, keys text[]) returns setof bigint
language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock_shared(key);
    return query select slot from reservation
        where tenant = of_tenant and message_key = any(keys) and slot is not null;
end
$$;

-- Every id that stands for the same person as one of these: itself among them.
create function kindred_ids(of_tenant text, ids text[]) returns setof text
language sql stable as $$
    with recursive down as (
        select s collate "C" as id from standing_ids(of_tenant, ids) s
        union
        select p.profile_id from down join person p on p.tenant = of_tenant and p.into_id = down.id
    )
    select id from down union select unnest(ids)
$$;
"""


def upgrade() -> None:
    op.execute(TABLES)
