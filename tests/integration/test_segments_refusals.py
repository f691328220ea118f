"""Whatever rule comes over the wire is taken, or refused with every fault at a place it has."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import grpc
import grpc.aio
import pytest

from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import condition_pb2 as pb
from tests.integration.segments_stack import Stack, details_of, stack_of, wish
from tests.properties.test_any_tree_is_read import Chance
from tests.properties.test_friendly_both_ways import tree
from tests.properties.test_refusals_resolve import leads

RULES = 300
SEED = int(os.environ.get("MUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
TAKEN = "OK"


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


async def test_a_broken_rule_is_never_an_internal_error(one: Stack) -> None:
    print(f"seed {SEED}")
    await one.log.say(one.log.people(range(3)))
    await one.events([(1, "bought", 1)])
    await one.door.DefineSegment(wish("big-spenders"))
    chance, said = Chance(random.Random(SEED)), Counter[str]()
    for _ in range(RULES):
        condition = tree(chance.rng, 2)
        for _ in range(chance.rng.randint(1, 3)):
            chance.mistake(condition)
        said[await answer_to(one, condition)] += 1
    print(dict(said))
    assert set(said) <= {TAKEN, "INVALID_ARGUMENT"}
    assert min(said[TAKEN], said["INVALID_ARGUMENT"]) > RULES // 20


async def answer_to(stack: Stack, condition: pb.Condition) -> str:
    """The code of a preview; a refusal names at least one fault, each where it stands."""
    try:
        await stack.door.PreviewSegment(api.PreviewSegmentRequest(condition=condition))
    except grpc.aio.AioRpcError as error:
        refusal = error
    else:
        return TAKEN
    found = details_of(refusal) if refusal.code() is grpc.StatusCode.INVALID_ARGUMENT else []
    assert found, (refusal.code(), refusal.details(), condition)
    for path, text in found:
        root, _, inner = path.partition(".")
        assert (root, bool(text)) == ("condition", True)
        assert leads(condition, inner), (path, text, condition)
    return str(refusal.code().name)
