"""What the command line says: help, refusals with advice, and files read exactly."""

import os
import shutil
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pytest

from cli.definitions import read_definitions, read_variants
from cli.documents import read_message
from cli.events import batches, event_of, properties_of, read_ndjson, spoken_value
from cli.history import table
from cli.problems import Problem
from muster.alerts.v1.service_pb2 import Watch
from muster.frequency.v1.service_pb2 import Strategy
from muster.types.v1.event_pb2 import Event

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NOW_US = 1_790_000_000_000_000


def muster(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    return subprocess.run(
        [str(ROOT / "muster"), *words],
        env={**clean, **env, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_is_quick_and_lists_every_command() -> None:
    began = time.monotonic()
    answer = muster("--help")
    assert time.monotonic() - began < 5
    assert answer.returncode == 0, answer.stderr
    for name in ("up", "demo", "doctor", "env", "publish", "import", "segments", "parked"):
        assert f" {name} " in answer.stdout


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("segments", "watch", "--bad"), "No such option"),
        (("segments", "define", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        (("publish", "page_viewed"), "an event needs at least one, such as user_id"),
        (("publish", "page_viewed", "--user", "ada", "--set", "x"), "write key=value"),
        (("import", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("import", "nowhere.parquet"), "nowhere.parquet cannot be read"),
    ],
)
def test_a_wrong_command_says_what_to_do(words: tuple[str, ...], advice: str) -> None:
    answer = muster(*words, MUSTER_SEGMENTS="127.0.0.1:1", MUSTER_INGEST="127.0.0.1:1")
    assert answer.returncode != 0
    assert advice in answer.stderr + answer.stdout
    assert "Traceback" not in answer.stderr


def test_a_service_that_is_away_is_named_with_advice() -> None:
    answer = muster("segments", "list", MUSTER_SEGMENTS="127.0.0.1:1")
    assert answer.returncode == 1
    assert "UNAVAILABLE" in answer.stderr
    assert "./muster up" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_local_stack_refuses_to_bind_beyond_loopback(tmp_path: Path) -> None:
    answer = muster("up", "--state", str(tmp_path), MUSTER_GRPC_HOST="0.0.0.0")
    assert answer.returncode == 1
    assert "binds to loopback only" in answer.stderr


def test_a_folder_that_is_no_demo_of_ours_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    answer = muster("demo", "--state", str(tmp_path))
    assert answer.returncode == 1
    assert "is not a demo's folder" in answer.stderr
    assert (tmp_path / "precious").exists()


def test_every_example_reads() -> None:
    ids = [
        request.segment_id
        for file in sorted((EXAMPLES / "segments").glob("*.yaml"))
        for request in read_definitions(file, "demo")
    ]
    assert len(ids) == len(set(ids))
    assert len(ids) > 10
    (variants,) = read_variants(EXAMPLES / "variants" / "spring.yaml", "demo")
    assert {rule.segment_id for rule in variants.rules} <= set(ids)
    strategy = read_message(EXAMPLES / "strategies" / "care.yaml", Strategy())
    assert strategy.limits[0].rolling.seconds == 3600
    watch = read_message(EXAMPLES / "watches" / "rush.yaml", Watch())
    assert (watch.above.units, watch.step.seconds) == (15, 5)
    lines = (EXAMPLES / "events" / "visit.ndjson").read_text().splitlines()
    assert len(list(read_ndjson(lines, NOW_US, lambda: "new"))) == 3


def test_a_wrong_segment_file_names_every_fault_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "segment: one\ncondition: {everyone: {}}\n---\n"
        "segment: two\ncolour: red\ntriggers: {reasons: [whim]}\n"
        "condition: {event: {type: x, window: soon}}\n"
    )
    with pytest.raises(Problem) as problem:
        list(read_definitions(file, "demo"))
    said = str(problem.value)
    assert "document 2" in said
    assert "colour" in said
    assert "triggers.reasons[0]: there is no reason 'whim'" in said
    assert "condition.event.window" in said


def test_a_wrong_strategy_names_its_fault(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("strategy_id: x\nlimits: [{max: 1, rolling: soon}]\nasks: [{direction: up}]\n")
    with pytest.raises(Problem, match=r"(?s)limits\[0\]\.rolling.*asks\[0\]\.direction"):
        read_message(file, Strategy())


def test_numbers_stay_exact() -> None:
    made = {
        item.key: item
        for item in properties_of(
            {"whole": 7, "price": Decimal("19.90"), "tiny": Decimal("1E-7"), "big": 2**53 + 1}
        )
    }
    assert made["whole"].whole == 7
    assert (made["price"].decimal.units, made["price"].decimal.exponent) == (1990, 2)
    assert (made["tiny"].decimal.units, made["tiny"].decimal.exponent) == (1, 7)
    assert made["big"].whole == 2**53 + 1
    assert spoken_value("0.1") == Decimal("0.1")
    assert spoken_value("true") is True
    assert spoken_value("007") == "007"


def test_lists_and_objects_become_items_and_dotted_keys() -> None:
    tree = {"address": {"city": "Kyiv"}, "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}]}
    made = [(item.key, item.item) for item in properties_of(tree)]
    assert made == [
        ("address.city", 0),
        ("lines.sku", 0),
        ("lines.n", 0),
        ("lines.sku", 1),
        ("lines.n", 1),
    ]


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"identifiers": {"user_id": "a"}}, "type"),
        ({"type": "x"}, "identifiers"),
        ({"type": "x", "user_id": "a", "colour": 1}, "colour"),
        ({"type": "x", "user_id": "a", "occur_time": "yesterday"}, "occur_time"),
    ],
)
def test_a_wrong_event_names_the_field(tree: dict[str, object], path: str) -> None:
    with pytest.raises(ValueError, match=path):
        event_of(tree, NOW_US, "new")


def test_batches_hold_at_most_what_a_message_may() -> None:
    large = [event_of({"type": "x", "user_id": "a", "properties": {"t": "y" * 4096}}, 1, "n")] * 900
    sizes = [batch.ByteSize() for batch in batches(large)]
    assert sum(len(batch.events) for batch in batches(large)) == 900
    assert max(sizes) <= 512 << 10
    small = [Event(event_id="e", type="x")] * 1201
    assert [len(batch.events) for batch in batches(small)] == [500, 500, 201]


def test_a_table_reads_its_columns_by_their_names(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("type,occur_time,user_id,total\norder_completed,2026-05-01,ada,19.99\n")
    event = next(table(file, NOW_US))
    assert event.event_id == "orders.csv-2"
    assert event.occur_time_us == 1_777_593_600_000_000
    assert event.identifiers[0].value == "ada"
    assert event.properties[0].decimal.units == 1999


TOO_OLD = "#!/bin/sh\nexit 1\n"
WITHOUT_VENV = """#!/bin/sh
case "$2" in
*ensurepip*) exit 1 ;;
*print*) echo 3.12 ;;
esac
"""


@pytest.mark.parametrize(
    ("python", "said"),
    [(TOO_OLD, "needs Python 3.11 or newer"), (WITHOUT_VENV, "apt install python3.12-venv")],
)
def test_a_missing_interpreter_is_named_with_what_to_install(
    tmp_path: Path, python: str, said: str
) -> None:
    for name in ("sh", "dirname", "cat"):
        (tmp_path / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    (tmp_path / "python3").write_text(python)
    (tmp_path / "python3").chmod(0o755)
    answer = subprocess.run(
        [str(ROOT / "tools" / "setup.sh"), "runtime"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 1
    assert said in answer.stderr
