"""Bytes once published decode for ever, in any language, and our fast writer writes the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from muster.alerts.v1 import facts_pb2 as alerts
from muster.frequency.v1 import facts_pb2 as frequency
from muster.identity.v1 import facts_pb2 as identity
from muster.ingest.v1 import catalogue_pb2 as catalogue
from muster.ingest.v1 import facts_pb2 as ingest
from muster.ingest.v1 import registry_pb2 as registry
from muster.segments.v1 import cuts_pb2 as cuts
from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import lists_pb2 as lists
from muster.types.v1 import columns_pb2, common_pb2, event_pb2
from services.chassis.columns import ColumnCodec, shadow_of
from tools import contracts
from tools.golden import examples

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "contracts" / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.bin"))
BUF = Path(sys.executable).with_name("buf")

TYPES: dict[str, type[Message]] = {
    "AlertNotice": alerts.AlertNotice,
    "EventBatch": event_pb2.EventBatch,
    "EventColumns": columns_pb2.EventColumns,
    "HistoryMoved": identity.HistoryMoved,
    "IdentityDecided": identity.IdentityDecided,
    "MessageDecided": frequency.MessageDecided,
    "Parked": common_pb2.Parked,
    "ProfileStep": identity.ProfileStep,
    "ReceiptBatch": ingest.ReceiptBatch,
    "SegmentDefined": segments.SegmentDefined,
    "SegmentStep": segments.SegmentStep,
    "SegmentTriggered": segments.SegmentTriggered,
    "VariantsDefined": segments.VariantsDefined,
    "SegmentExported": segments.SegmentExported,
    "ListChanged": lists.ListChanged,
    "RfmCutsSet": cuts.RfmCutsSet,
    "CatalogueItemsSet": catalogue.CatalogueItemsSet,
    "RegistryChanged": registry.RegistryChanged,
    "ValueList": common_pb2.ValueList,
}

COLUMNAR = [
    columns_pb2.EventColumns,
    identity.ProfilesCreated,
    identity.IdentifiersLinked,
    identity.AttributesSet,
    segments.TransitionColumns,
    segments.ActivityCounted,
]


def golden(name: str) -> tuple[type[Message], bytes, str]:
    """(type, bytes, JSON text) of a golden message."""
    body = (GOLDEN / f"{name}.bin").read_bytes()
    return TYPES[name.split("-", maxsplit=1)[0]], body, (GOLDEN / f"{name}.json").read_text()


def test_there_are_golden_messages_of_every_type() -> None:
    assert {name.split("-")[0] for name in NAMES} == set(TYPES)


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_decode_to_the_golden_json(name: str) -> None:
    kind, body, text = golden(name)
    message = kind.FromString(body)
    assert json.loads(json_format.MessageToJson(message)) == json.loads(text)
    assert message == json_format.Parse(text, kind())


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_are_what_we_write_today(name: str) -> None:
    kind, body, _ = golden(name)
    assert kind.FromString(body).SerializeToString(deterministic=True) == body


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_hold_nothing_the_contract_does_not_name(name: str) -> None:
    kind, body, _ = golden(name)
    message = kind.FromString(body)
    before = len(message.SerializeToString())
    message.DiscardUnknownFields()
    assert len(message.SerializeToString()) == before == len(body)


def test_the_examples_in_the_code_are_the_golden_messages() -> None:
    made = {n: m.SerializeToString(deterministic=True) for n, m in examples().items()}
    assert set(made) <= set(NAMES), "run `make contracts`"
    assert {n: made[n] for n in made if made[n] != golden(n)[1]} == {}


def test_a_published_golden_is_refused_when_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts, "GOLDEN", tmp_path)
    (tmp_path / "Parked.bin").write_bytes(b"as published long ago")
    assert contracts.write_golden(replace=False) == ["Parked"]
    assert (tmp_path / "Parked.bin").read_bytes() == b"as published long ago"
    assert contracts.write_golden(replace=True) == []
    assert (tmp_path / "Parked.bin").read_bytes() == golden("Parked")[1]


def fields_named(message: Message, seen: set[str]) -> None:
    for field, value in message.ListFields():
        seen.add(field.full_name)
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.message_type.GetOptions().map_entry:
            continue
        for one in value if field.is_repeated else [value]:
            fields_named(one, seen)


def fields_of(descriptor: Descriptor, seen: set[str]) -> None:
    for field in descriptor.fields:
        if field.full_name in seen or field.full_name.startswith("google."):
            continue
        seen.add(field.full_name)
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            fields_of(field.message_type, seen)


def test_together_the_golden_messages_name_every_field_of_the_facts() -> None:
    named: set[str] = set()
    declared: set[str] = set()
    for name in NAMES:
        kind, body, _ = golden(name)
        fields_named(kind.FromString(body), named)
        fields_of(kind.DESCRIPTOR, declared)
    assert sorted(declared - named) == []


def enums_used(message: Message, seen: set[str]) -> None:
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == FieldDescriptor.TYPE_ENUM:
            seen |= {field.enum_type.values_by_number[v].name for v in values}
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for one in values:
                enums_used(one, seen)


def test_the_big_tree_uses_every_operator_and_aggregate() -> None:
    used: set[str] = set()
    enums_used(segments.SegmentDefined.FromString(golden("SegmentDefined-every-leaf")[1]), used)
    from muster.types.v1 import condition_pb2 as condition

    wanted = {*condition.Operator.keys(), *condition.AggregateKind.keys()}
    assert {w for w in wanted if not w.endswith("UNSPECIFIED")} - used == set()


def columns_of(message: Message, codec: ColumnCodec) -> dict[str, Any]:
    """The columns of a plain message, value by value: what the fast codec must agree with."""
    columns: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.name in codec.scalars:
            columns[field.name] = int(value)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            columns[field.name] = np.frombuffer(value, np.uint8)
        else:
            columns[field.name] = np.array(list(value), codec.columns[field.name])
    return columns


def random_message(kind: type[Message], rng: np.random.Generator) -> Message:
    """Columns of random lengths (0 included) with every bit of their width in play."""
    codec = ColumnCodec(kind)
    values: dict[str, Any] = {name: int(rng.integers(0, 2**31)) for name in codec.scalars}
    for name, dtype in codec.columns.items():
        raw = rng.bytes(int(rng.integers(0, 40)) * np.dtype(dtype).itemsize)
        column = np.frombuffer(raw, dtype)
        is_bytes = kind.DESCRIPTOR.fields_by_name[name].type == FieldDescriptor.TYPE_BYTES
        values[name] = raw if is_bytes else column.tolist()
    return kind(**values)


def assert_same_wire(plain: Message) -> None:
    kind = type(plain)
    codec = ColumnCodec(kind)
    columns = columns_of(plain, codec)
    wire = plain.SerializeToString(deterministic=True)
    assert codec.encode(columns) == wire
    read = codec.decode(wire)
    assert read.keys() == columns.keys()
    for name, column in columns.items():
        assert np.array_equal(read[name], column), name
    assert kind.FromString(codec.encode(read)) == plain


@pytest.mark.parametrize("kind", COLUMNAR, ids=lambda kind: kind.DESCRIPTOR.name)
def test_the_shadow_codec_writes_the_wire_of_the_plain_message(kind: type[Message]) -> None:
    seed = 20260314
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    assert_same_wire(kind())
    for _ in range(50):
        assert_same_wire(random_message(kind, rng))


def test_the_shadow_codec_reads_and_writes_the_golden_columns() -> None:
    assert_same_wire(columns_pb2.EventColumns.FromString(golden("EventColumns")[1]))
    step = segments.SegmentStep.FromString(golden("SegmentStep")[1])
    assert_same_wire(step.transitions)
    assert_same_wire(step.activity)
    for entry in identity.ProfileStep.FromString(golden("ProfileStep")[1]).entries:
        inner = getattr(entry, entry.WhichOneof("entry"))
        if type(inner) in COLUMNAR:
            assert_same_wire(inner)


def test_a_step_taken_apart_and_put_together_is_the_same_bytes() -> None:
    body = golden("ProfileStep")[1]
    step, entry = shadow_of(identity.ProfileStep), shadow_of(identity.ProfileEntry)
    entries = [entry.FromString(raw) for raw in step.FromString(body).entries]
    kinds = [e.WhichOneof("entry") for e in entries]
    plain = identity.ProfileStep.FromString(body)
    assert kinds == [e.WhichOneof("entry") for e in plain.entries]
    assert step(entries=[e.SerializeToString() for e in entries]).SerializeToString() == body


def test_appending_columns_to_wire_bytes_is_a_merge() -> None:
    """identity appends profile and atom to what it received, without reading the rest."""
    whole = columns_pb2.EventColumns.FromString(golden("EventColumns")[1])
    profile, atom = list(whole.profile), list(whole.atom)
    whole.ClearField("profile")
    whole.ClearField("atom")
    codec = ColumnCodec(columns_pb2.EventColumns)
    added = codec.encode({"profile": profile, "atom": atom})
    joined = columns_pb2.EventColumns.FromString(whole.SerializeToString() + added)
    assert joined == columns_pb2.EventColumns.FromString(golden("EventColumns")[1])


def test_the_descriptor_set_alone_reads_the_golden_messages() -> None:
    """What a client without our code does: descriptor set in, golden bytes in, JSON out."""
    pool = descriptor_pool.DescriptorPool()
    found = descriptor_pb2.FileDescriptorSet.FromString(
        contracts.write_descriptor_set().read_bytes()
    )
    for file in found.file:
        pool.Add(file)
    for name in NAMES:
        kind, body, text = golden(name)
        own = message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.DESCRIPTOR.full_name))
        as_json = json_format.MessageToJson(own.FromString(body), descriptor_pool=pool)
        assert json.loads(as_json) == json.loads(text), name


def test_every_contract_says_what_its_parts_are() -> None:
    """Comments travel in the descriptor set: services, rpcs and messages all have one."""
    found = descriptor_pb2.FileDescriptorSet.FromString(
        contracts.write_descriptor_set().read_bytes()
    )
    silent = []
    for file in (f for f in found.file if f.package.startswith("muster.")):
        said = {
            tuple(place.path)
            for place in file.source_code_info.location
            if place.leading_comments.strip()
        }
        silent += [m.name for i, m in enumerate(file.message_type) if (4, i) not in said]
        for i, service in enumerate(file.service):
            silent += [service.name] if (6, i) not in said else []
            silent += [r.name for j, r in enumerate(service.method) if (6, i, 2, j) not in said]
    assert silent == []


def buf(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BUF), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_contracts_keep_the_rules_of_buf() -> None:
    done = buf("lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_contract_is_caught(tmp_path: Path) -> None:
    """The breaking check is ready: a renumbered field of a public fact is named."""
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    assert buf("build", "-o", "baseline.binpb", cwd=tmp_path).returncode == 0
    assert buf("breaking", "--against", "baseline.binpb", cwd=tmp_path).returncode == 0
    facts = tmp_path / "protos" / "muster" / "segments" / "v1" / "facts.proto"
    text = facts.read_text()
    assert "string trigger_id = 1;" in text
    facts.write_text(text.replace("string trigger_id = 1;", "string trigger_id = 99;"))
    done = buf("breaking", "--against", "baseline.binpb", cwd=tmp_path)
    assert done.returncode != 0
    assert "trigger_id" in done.stdout


def test_the_contracts_keep_what_the_baseline_promised() -> None:
    """Holds from the moment contracts/baseline.binpb is committed."""
    assert contracts.breaking() == 0


@pytest.mark.parametrize("kind", [columns_pb2.EventColumns, segments.TransitionColumns])
def test_columns_are_written_as_protobuf_would(kind: type[Message]) -> None:
    codec, rng = ColumnCodec(kind), np.random.default_rng(7)
    for _ in range(100):
        columns: dict[str, Any] = {
            name: rng.integers(0, 200, int(rng.integers(0, 300))).astype(dtype)
            for name, dtype in codec.columns.items()
            if rng.random() < 0.6
        }
        columns |= {name: int(rng.integers(0, 3)) * 54_321 for name in codec.scalars}
        fields = {n: v if isinstance(v, int) else v.tobytes() for n, v in columns.items()}
        assert codec.encode(columns) == codec.shadow(**fields).SerializeToString()
