"""The commands of `./muster`. Their modules are light; what is heavy they import when they run."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import typer

app = typer.Typer(
    name="muster",
    help="Knows, at every moment, who is in which segment, and says so the moment it changes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    "up",
    "demo",
    "doctor",
    "env",
    "publish",
    "import",
    "publishers",
    "events",
    "segments",
    "lists",
    "identity",
    "frequency",
    "alerts",
    "test",
    "topology",
    "parked",
)
"""In the order of the help text. Each is cli/commands/<name>.py (a trailing _ for a keyword of
Python) with a `command` function, or an `app` of its own for commands with parts."""

for name in COMMANDS:
    place = f"cli.commands.{name}" + "_" * (name == "import")
    if find_spec(place) is None:
        continue
    module = import_module(place)
    if hasattr(module, "app"):
        app.add_typer(module.app, name=name)
    else:
        app.command(name)(module.command)
