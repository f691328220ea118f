"""Reads our own source code, for the tests that hold its shape."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("ingest", "identity", "segments", "frequency", "alerts")
PYTHON_FOLDERS = ("services", "cli", "tools", "tests", "benchmarks", "examples", "clients")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Every Python file of ours below the folders (all when none is named), sorted."""
    found = [p for f in folders or PYTHON_FOLDERS for p in (ROOT / f).rglob("*.py")]
    return tuple(sorted(p for p in found if "__pycache__" not in p.parts))


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), filename=str(path))


def place(path: Path, line: int = 0) -> str:
    """Path below the repository's root, with the line: what a failing test prints."""
    short = str(path.relative_to(ROOT))
    return f"{short}:{line}" if line else short


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imports(path: Path) -> Iterator[tuple[str, str, int]]:
    """(module, name or '', line) of every import of a file, at any depth of it."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module, alias.name, node.lineno


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    """Calls of a plain name, such as Own(…)."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = node.func
            last = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if last == name:
                yield node
