"""The architecture is a test: layers, writers, cards, names and limits of size."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from services.chassis import subjects, topology
from tests.contract.sources import (
    ROOT,
    SERVICES,
    Function,
    calls,
    functions,
    imports,
    place,
    python_files,
    text_of,
    tree_of,
)

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
HOT = "hot kernel"
STREAMS = {
    value
    for name, value in vars(subjects).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, str)
}


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Streams and their writers.


def test_every_stream_is_declared_once_with_one_writer() -> None:
    names = [stream.name for stream in topology.STREAMS]
    assert sorted(names) == sorted(STREAMS)
    assert all(stream.writer for stream in topology.STREAMS)


def test_no_subject_belongs_to_two_streams() -> None:
    nouns = [noun for stream in topology.STREAMS for noun in stream.nouns]
    assert len(nouns) == len(set(nouns))


def test_the_shares_of_the_log_add_up() -> None:
    assert sum(stream.share_percent for stream in topology.STREAMS) == 100


def test_every_subject_falls_into_its_stream() -> None:
    stream_of = {noun: stream.name for stream in topology.STREAMS for noun in stream.nouns}
    made = {
        subjects.INTAKE: subjects.intake("demo", "shop"),
        subjects.RECEIPTS: subjects.receipts("demo"),
        subjects.EVENTS: subjects.events("demo"),
        subjects.CONTROL: subjects.control("demo", "segment"),
        subjects.PROFILES: subjects.profiles("demo", 0),
        subjects.HISTORY: subjects.history("demo", 1, 0),
        subjects.TRANSITIONS: subjects.transitions("demo", 0),
        subjects.TRIGGERS: subjects.triggers("demo", "vip"),
        subjects.MESSAGES: subjects.messages("demo", "gentle"),
        subjects.ALERTS: subjects.alerts("demo", "low"),
        subjects.PARKED: subjects.parked("demo", "ingest"),
    }
    assert set(made) == STREAMS
    for stream, subject in made.items():
        prefix, noun, version, *_ = subject.split(".")
        assert (prefix, version, stream_of[noun]) == ("muster", "v1", stream)
    assert stream_of[subjects.relay("demo", 0).split(".")[1]] == subjects.TRIGGERS


WRITERS = {
    subjects.RECEIPTS: {"ingest"},
    subjects.EVENTS: {"ingest"},
    subjects.PROFILES: {"identity"},
    subjects.HISTORY: {"segments"},
    subjects.TRANSITIONS: {"segments"},
    subjects.TRIGGERS: {"segments"},
    subjects.PARKED: set(SERVICES),
}


def owned_streams() -> dict[str, set[str]]:
    """Stream -> services that say Own(subjects.<STREAM>, …) somewhere."""
    owners: dict[str, set[str]] = {}
    for service in SERVICES:
        for path in python_files(f"services/{service}"):
            for call in calls(path, "Own"):
                first = call.args[0] if call.args else call.keywords[0].value
                name = first.attr if isinstance(first, ast.Attribute) else ast.unparse(first)
                owners.setdefault(getattr(subjects, name, name), set()).add(service)
    return owners


def test_a_fenced_stream_is_written_by_the_service_that_owns_it() -> None:
    owners = owned_streams()
    assert owners, "no core says what it owns"
    wrong = {s: o for s, o in owners.items() if not o <= WRITERS.get(s, set())}
    assert wrong == {}
    unowned = set(WRITERS) - set(owners)
    assert unowned == set(), "declared as fenced, but no core owns it"


def test_subjects_are_computed_never_typed() -> None:
    typed = [
        place(path, node.lineno)
        for path in python_files("services")
        if path.name != "subjects.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"muster\.[a-z-]+\.v1\.[a-z{*>]", node.value)
        and "\n" not in node.value
    ]
    assert typed == []


# Cards.


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_card(service: str) -> None:
    card = ast.get_docstring(tree_of(ROOT / "services" / service / "__init__.py")) or ""
    for word in ("decides", "consumes", "publishes", "serves"):
        assert re.search(rf"\b{word}\b", card, re.IGNORECASE), f"the card does not say: {word}"
    named = set(re.findall(r"\b[A-Z]{5,}\b", card)) & {*STREAMS, "POSTGRES"}
    assert named & STREAMS, "the card names no stream"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_starts_by_its_name(service: str) -> None:
    assert (ROOT / "services" / service / "__main__.py").exists()
    assert (ROOT / "protos" / "muster" / service / "v1" / "service.proto").exists()


# Purity.

FORBIDDEN_IN_DOMAIN = {
    "asyncio",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}


def is_domain(path: Path) -> bool:
    return "domain" in path.relative_to(ROOT).parts


def test_the_domain_imports_the_quiet_part_of_the_standard_library() -> None:
    loud = []
    for path in filter(is_domain, python_files("services")):
        service = path.relative_to(ROOT).parts[1]
        for module, _, line in imports(path):
            top = module.split(".")[0]
            own = module.startswith(f"services.{service}.domain")
            quiet = top in sys.stdlib_module_names and top not in FORBIDDEN_IN_DOMAIN
            if not own and not quiet:
                loud.append(f"{place(path, line)} imports {module}")
    assert loud == []


def test_chance_and_time_enter_at_the_clock() -> None:
    """ruff forbids the calls; here the imports themselves, in the services."""
    clock = ROOT / "services" / "chassis" / "clock.py"
    found = [
        f"{place(path, line)} imports {module}"
        for path in python_files("services")
        if path != clock
        for module, _, line in imports(path)
        if module.split(".")[0] in {"random", "secrets", "uuid"}
    ]
    assert found == []


def is_pure(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return path.name in {"core.py", "relay_core.py"} or "engine" in parts or "domain" in parts


def test_cores_take_only_units_from_the_clock() -> None:
    read = [
        f"{place(path, line)} imports {name or module}"
        for path in filter(is_pure, python_files("services"))
        for module, name, line in imports(path)
        if (module == "time" or module.endswith("chassis.clock") or name == "clock")
        and not name.isupper()
    ]
    assert read == []


# Size and names.


def lines_of(function: Function) -> int:
    """Lines of a function without its docstring."""
    first, length = function.body[0], (function.end_lineno or 0) - function.lineno + 1
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        length -= (first.end_lineno or 0) - first.lineno + 1
    return length


def says_hot(path: Path, function: Function) -> bool:
    """Whether a function, or the line above it, says that it is a hot kernel."""
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    lines = text_of(path).splitlines()[max(0, first - 2) : function.end_lineno]
    return any(HOT in line.lower() for line in lines)


def test_a_function_fits_a_screen() -> None:
    long = [
        f"{place(path, function.lineno)} {function.name}: {lines_of(function)} lines"
        for path in python_files()
        for function in functions(path)
        if lines_of(function) > FUNCTION_LINES_MAX and not says_hot(path, function)
    ]
    said = f"at most {FUNCTION_LINES_MAX} lines; a hot kernel says so in a comment"
    assert not long, "\n".join([said, *long])


def test_a_module_fits_a_sitting() -> None:
    long = []
    for path in python_files():
        length = len(text_of(path).splitlines())
        hot = HOT in (ast.get_docstring(tree_of(path)) or "").lower()
        if length > MODULE_LINES_MAX and not hot:
            long.append(f"{place(path)}: {length} lines")
    said = f"at most {MODULE_LINES_MAX} lines; a module of hot kernels says so at its top"
    assert not long, "\n".join([said, *long])


EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "misc", "stuff"}


def words(name: str) -> set[str]:
    return {w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_names_say_something() -> None:
    empty = [place(p) for p in python_files() if words(p.stem) & EMPTY_NAMES]
    empty += [
        f"{place(path, node.lineno)} {node.name}"
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and words(node.name) & EMPTY_NAMES
    ]
    assert empty == []


def test_every_module_opens_with_what_it_decides() -> None:
    silent = [
        place(path)
        for path in python_files("services", "cli", "tools", "benchmarks")
        if not ast.get_docstring(tree_of(path)) and "migrations" not in path.parts
    ]
    assert silent == []


def test_we_do_not_mock_our_own_code() -> None:
    mocking = [
        f"{place(path, line)} imports {module}"
        for path in python_files("tests")
        for module, name, line in imports(path)
        if module.startswith("unittest.mock") or (module == "unittest" and name == "mock")
    ]
    assert mocking == []


# Dependencies.


def test_every_direct_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(d for extra in extras for d in extra)]
    unbound = [d for d in wanted if ">=" not in d and not d.startswith("types-")]
    assert unbound == []


@pytest.mark.parametrize("name", ["runtime", "test", "bench"])
def test_requirements_are_locked_by_hash_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    rows = [r.strip() for r in text.splitlines() if r.strip() and not r.startswith("#")]
    assert rows, "empty lock"
    assert [r for r in rows if re.match(r"-{1,2}(i|index|extra-index|find-links)", r)] == []
    pinned = [r for r in rows if not r.startswith("-")]
    assert [r.split()[0] for r in pinned if "==" not in r or "--hash=sha256:" not in r] == []
