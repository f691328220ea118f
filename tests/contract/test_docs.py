"""Documents stay true: links resolve, commands exist, tables say what the code says."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.app import app
from services.chassis import subjects, topology
from services.chassis.errors import ExitCode
from services.chassis.settings import Settings, ports
from tests.contract.manifests import METRICS_ABOVE, settings_class
from tests.contract.sources import ROOT, SERVICES, python_files, text_of

PAGES = sorted(
    p
    for folder in (".", "docs", "docs/adr", "deploy", "tests", "contracts", "protos", "examples")
    for p in (ROOT / folder).glob("*.md")
)
TEXT_OF = {page: page.read_text() for page in PAGES}
MADE_LATER = {"contracts/build/muster.binpb", "contracts/baseline.binpb"}


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


def page(name: str) -> str:
    return TEXT_OF[ROOT / name]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [body for _, body in found]


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table after a heading, without its head."""
    after = text.split(heading, 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert lines, f"no table after {heading!r}"
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", PAGES, ids=title)
def test_links_resolve(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(TEXT_OF[path])):
        if target.startswith("https://"):
            continue
        file, _, part = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE) if part else []
        if not found.exists() or (part and part not in map(anchor, headings)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=title)
def test_places_named_exist(path: Path) -> None:
    folders = "services|deploy|tests|tools|cli|protos|contracts|examples|docs|requirements"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", prose(TEXT_OF[path]))
    missing = [n for n in named if n not in MADE_LATER and not (ROOT / n).exists()]
    # Recipes name places inside any service.
    assert missing == []


@cache
def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return {
        name for row in re.findall(r"^([a-z% -]+):", text, re.MULTILINE) for name in row.split()
    }


def commands(text: str) -> list[list[str]]:
    """Commands of ours in fenced blocks of shell or plain text, and between backticks."""
    fenced = [*blocks(text, "sh"), *blocks(text, "")]
    spoken = [line for block in fenced for line in block.splitlines()]
    spoken = [line for line in spoken if line.lstrip().startswith(("make ", "./muster "))]
    spoken += re.findall(r"`((?:make|\./muster) [^`]*)`", prose(text))
    found = []
    for line in spoken:
        words = shlex.split(line.strip().rstrip("\\"), comments=True)
        while words and re.fullmatch(r"[A-Z]+=\S*", words[0]):
            words.pop(0)
        if words and words[0] in {"make", "./muster"} and not any("<" in w for w in words):
            found.append(words)
    return found


@pytest.mark.parametrize("path", PAGES, ids=title)
def test_commands_named_exist(path: Path) -> None:
    for words in commands(TEXT_OF[path]):
        if words[0] == "make":
            goals = [w for w in words[1:] if "=" not in w]
            unknown = [g for g in goals if g not in targets() and not g.startswith("bench-")]
            assert unknown == [], words
        else:
            check_muster(words[1:])


def check_muster(words: list[str]) -> None:
    """Walks the command line's own tree: every command and option of `words` is there."""
    command: Any = typer.main.get_command(app)
    left = list(words)
    while hasattr(command, "commands") and left:
        name = left.pop(0)
        assert name in command.commands, f"./muster {' '.join(words)}: there is no {name!r}"
        command = command.commands[name]
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    unknown = [w for w in left if w.startswith("--") and w.split("=")[0] not in options]
    assert unknown == [], words


def test_a_command_that_is_not_there_would_be_found() -> None:
    with pytest.raises(AssertionError, match="there is no 'segmentz'"):
        check_muster(["segmentz", "list"])
    with pytest.raises(AssertionError):
        check_muster(["publish", "page_viewed", "--userr", "ada"])


@pytest.mark.parametrize("path", PAGES, ids=title)
def test_files_named_in_commands_exist(path: Path) -> None:
    named = [w for words in commands(TEXT_OF[path]) for w in words if w.startswith("examples/")]
    assert [n for n in named if not (ROOT / n).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=title)
def test_variables_named_exist(path: Path) -> None:
    fields = set(Settings.model_fields).union(*(settings_class(s).model_fields for s in SERVICES))
    read = set(
        re.findall(r"MUSTER_([A-Z_]+)\b", "".join(map(text_of, python_files("tests", "cli"))))
    )
    named = set(re.findall(r"MUSTER_([A-Z_]+)\b", TEXT_OF[path]))
    assert {n for n in named if n.lower() not in fields and n not in read} == set()


def test_the_picture_names_every_stream_and_service() -> None:
    for name in ("docs/architecture.md", "README.md"):
        picture = "".join(blocks(page(name), ""))
        wanted = {stream.name for stream in topology.STREAMS} | {*SERVICES, "relay"}
        if name == "README.md":
            wanted -= {"RECEIPTS", "PARKED"}
        assert {w for w in wanted if not re.search(rf"\b{w}\b", picture)} == set(), name


def test_the_architecture_names_the_writers_of_the_topology() -> None:
    writers = {}
    for cells in rows(page("docs/architecture.md"), "## Five services"):
        name = cells[0].removeprefix("— its ")
        writers[name] = set(re.findall(r"[A-Z]{5,}", cells[3]))
    for stream in topology.STREAMS:
        if stream.writer in writers:
            assert stream.name in writers[stream.writer], stream
    said = set().union(*writers.values())
    assert said == {s.name for s in topology.STREAMS} - {subjects.INTAKE, subjects.PARKED}


def test_the_table_of_exit_codes_is_the_code() -> None:
    said = {int(c[0]): c[1] for c in rows(page("docs/operations.md"), "## Exit codes") if c[1]}
    assert said == {1: "START", **{int(code): code.name for code in ExitCode}}


def test_the_table_of_ports_is_the_code() -> None:
    said = {}
    for process, role, grpc, metrics in rows(page("docs/operations.md"), "## Start and stop"):
        short = process.strip("`").removeprefix("services.")
        service = short or service  # noqa: F821 - the row above names it
        name = {"worker": "ingest-worker", "relay": "relay"}.get(role.strip("`"), service)
        said[{"nats-server": "nats", "PostgreSQL": "postgres"}.get(name, name)] = int(grpc)
        assert metrics in {"", str(int(grpc) + METRICS_ABOVE)}
    assert said == ports


def test_figures_named_are_published() -> None:
    code = "".join(text_of(path) for path in python_files("services"))
    named = set(re.findall(r"`(muster_[a-z_]+)`", page("docs/operations.md")))
    assert named
    assert {n for n in named if f'"{n}"' not in code} == set()


def test_subjects_named_are_computed_so() -> None:
    """Each subject of the contracts page is what its function makes of the same words."""
    words = ("tenant", "publisher", "segment", "strategy", "watch", "service", "kind")
    made = {
        subjects.intake("tenant", "publisher"),
        subjects.submit("tenant", "publisher"),
        subjects.receipts("tenant"),
        subjects.triggers("tenant", "segment"),
        subjects.messages("tenant", "strategy"),
        subjects.alerts("tenant", "watch"),
        subjects.parked("tenant", "service", 0),
        subjects.events("tenant"),
        subjects.control("tenant", "kind"),
        subjects.profiles("tenant", 0),
        subjects.history("tenant", 1, 0),
        subjects.transitions("tenant", 0),
        subjects.doors("tenant"),
    }
    said = set(re.findall(r"`(muster\.[a-z]+\.v1\.[^`]*)`", page("docs/contracts.md")))
    plain = set()
    for subject in said:
        text = subject.replace("<partition>", "0").replace("<to>", "1").replace("<from>", "0")
        for word in words:
            text = text.replace(f"<{word}>", word)
        plain.add(text)
    assert plain == made


def test_every_decision_is_listed() -> None:
    listed = page("docs/adr/README.md")
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        assert f"({path.name})" in listed
        heading = TEXT_OF[path].splitlines()[0]
        assert heading.startswith(f"# {int(path.name[:4])}. ")
        assert heading.removeprefix(f"# {int(path.name[:4])}. ") in listed
