"""`muster env`: the variables that point commands and clients at the running stack."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer


def command(
    export: Annotated[bool, typer.Option(help="With `export`, for eval.")] = True,
) -> None:
    """Prints MUSTER_* of the running stack: eval "$(./muster env)"."""
    from cli.running import stack

    for name, value in stack().variables().items():
        print(f"{'export ' * export}{name}={shlex.quote(value)}")
