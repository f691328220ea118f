"""What identity costs: ingest and identity on one core each, merges, and answers at a steady rate.

Rows carry two identifiers (a user id and a cookie) and eight properties. Known rows arrive
disturbed: 2 % are an hour late, all others jittered. Throughput is CPU of one process, decode and
encode included; latency is of real processes over gRPC, from the instant a call was due, with the
callers on the same machine. What bounds it: ingest reads, checks and prints each identifier;
identity finds two words in a hash table (a cache miss each) and copies the row; evidence that comes
late is folded again in Python, about 0.2 ms each. A merge costs in segments what its rules read:
sums by the segment, rules about a whole past (sequences, days) by the event. The last line is JSON.

    python -m benchmarks.identity [--identifiers 1000000] [--seconds 3] [--seed 7] [--no-processes]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import time

from benchmarks.identity.cores import homecomings, known, newcomers, snapshot, through_ingest
from benchmarks.identity.door import resolve_ms
from benchmarks.identity.merge import about_a_past, merge_ms
from benchmarks.identity.people import TENANT, People
from benchmarks.pipeline.machine import Usage
from services.identity import core as identity
from services.ingest import core as ingest


def main() -> None:
    options = wanted()
    print(f"{options.identifiers:,} identifiers, two a person, seed {options.seed}")
    began, busy = time.perf_counter(), Usage.now({"bench": os.getpid()})
    ingest.warm()
    identity.warm()
    print(f"kernels warm in {time.perf_counter() - began:.2f} s")
    persons = options.identifiers // 2
    entered = through_ingest(persons, options.ingest_events, options.seed)
    core = identity.IdentityCore(TENANT, options.partitions)
    people = People(persons, options.seed)
    new_per_s, slowest_ms = newcomers(core, people)
    us = {rows: known(core, people, rows, options.seconds) for rows in (50, 500, 1_500)}
    dump_s, load_s = snapshot(core)
    del core
    merging = homecomings(20_000, options.seed, options.partitions)
    merge_ms(1_000, 90, options.seed, options.segments)  # kernels read from their cache
    in_identity, in_segments = merge_ms(options.past_events, 90, options.seed, options.segments)
    _, of_a_past = merge_ms(options.past_events // 10, 90, options.seed, 2, about_a_past)
    foreign = foreign_since(began, busy)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
    latency: dict[str, float] | None = None
    if not options.no_processes:
        asked = resolve_ms(
            min(persons, 100_000),
            options.calls_per_s,
            options.seconds * 3,
            options.events_per_s,
            options.seed,
        )
        latency = asyncio.run(asked)
    print(
        json.dumps(
            {
                "ingest_events_per_s_per_core": round(entered["known"]),
                "identity_events_per_s_per_core": round(1e6 / us[500]),
                "merge_ms": round(in_identity + in_segments, 2),
                "resolve_p99_ms": latency["p99"] if latency else None,
                "identifiers": options.identifiers,
                "ingest_new_events_per_s_per_core": round(entered["new"]),
                "identity_new_events_per_s_per_core": round(new_per_s),
                "us_per_event_by_step_rows": {rows: round(one, 3) for rows, one in us.items()},
                "us_per_event_merging": merging,
                "foreign_cores": foreign,
                "merge_segments": options.segments,
                "merge_in_segments_about_a_past_ms": round(of_a_past, 2),
                "merge_in_identity_ms": round(in_identity, 2),
                "merge_in_segments_ms": round(in_segments, 2),
                "slowest_new_step_ms": round(slowest_ms, 1),
                "dump_ms": round(dump_s * 1e3),
                "load_s": round(load_s, 2),
                "resolve_ms": latency,
            }
        )
    )


def wanted() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--identifiers", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--ingest-events", type=int, default=100_000)
    parser.add_argument("--past-events", type=int, default=50_000, help="of each in a merge")
    parser.add_argument("--segments", type=int, default=100, help="defined while people merge")
    parser.add_argument("--calls-per-s", type=int, default=1_000)
    parser.add_argument("--events-per-s", type=int, default=1_000, help="while calls are made")
    parser.add_argument("--no-processes", action="store_true", help="cores only, no latencies")
    return parser.parse_args()


def foreign_since(began_s: float, before: Usage) -> float:
    """Cores that others used meanwhile."""
    used = Usage.now({"bench": os.getpid()}).since(before)
    cores = used.foreign / (time.perf_counter() - began_s)
    print(f"foreign cores: {cores:.2f}")
    return round(cores, 2)


if __name__ == "__main__":
    main()
