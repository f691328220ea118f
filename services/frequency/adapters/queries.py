"""The queries of a decision, by name. Integers go in as text, see `database.bigints`.

LOOK sees, after the locks: the clock, the newest version of a strategy, which keys are known, and
what may count (a row each: place of the wish, instant, kind). HISTORY is that with keys, for the
exact judgement. `offset 0` keeps the planner from turning a lookup per profile into a join.
"""

LOOK = """
with clock as materialized (select now_us() as now_us),
history as (
    select wish.place, case when r.state = 1 then -r.stand_us else r.stand_us end as stand, r.kind
    from clock, unnest($1::text::bigint[], $2::text::bigint[]) with ordinality
        as wish (slot, memory_us, place)
    cross join lateral (
        select state, stand_us, kind from reservation
        where slot = wish.slot and stand_us > clock.now_us - wish.memory_us
        offset 0
    ) r
)
select (select now_us from clock) as now_us,
    (select coalesce(max(number), 0) from strategy_version where tenant = $3) as newest,
    (select version from person_version where tenant = $3) as persons,
    (select array_agg(message_key) from reservation
        where tenant = $3 and message_key = any($4::text[])) as known,
    array_send(array_agg(place - 1)) as places,
    array_send(array_agg(stand)) as stands,
    array_send(array_agg(kind::bigint)) as kinds
from history
"""
HISTORY = """
select r.* from unnest($1::text::bigint[]) as wanted (slot)
cross join lateral (
    select slot, strategy, stand_us, kind, message_key, state from reservation
    where slot = wanted.slot and stand_us > $2 and tenant = $3
    offset 0
) r
"""
GRANT = """
insert into reservation (tenant, message_key, profile_id, slot, strategy, kind, state, decided_us,
    first_us, deadline_us, stand_us)
select $1, u.message_key, u.profile_id, u.slot, $2, $3, 1, $4, $4, $5, $5
from unnest($6::text[], $7::text[], $8::text::bigint[]) as u (message_key, profile_id, slot)
"""
INSERT = """
insert into reservation (tenant, message_key, profile_id, slot, strategy, kind, state, decided_us,
    first_us, deadline_us, stand_us, receipt)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
UPDATE = """
update reservation r set profile_id = $3, slot = $4, strategy = $5, kind = $6, state = $7,
    decided_us = $8, first_us = $9, deadline_us = $10, stand_us = $11, receipt = $12
where tenant = $1 and message_key = $2
"""
TALLY = """
insert into tally (tenant, strategy_id, at_us, what, rule, count)
select $1, u.strategy_id, $2, u.what, u.rule, u.count
from unnest($3::text[], $4::text[], $5::text[], $6::bigint[]) as u (strategy_id, what, rule, count)
"""
