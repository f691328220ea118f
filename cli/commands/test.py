"""`muster test FILE...`: stories about segments, run in simulated time through the real cores."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cli.simulation.streams import CutChoice


def command(
    files: Annotated[
        list[Path], typer.Argument(help="Case files (YAML or JSON), or folders of them.")
    ],
    cuts: Annotated[
        int, typer.Option(help="Also run every case this often with other cuts into steps.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of those cuts.")] = 0,
    partitions: Annotated[
        int, typer.Option(help="Partitions instead of those the cases name; 0 is as they say.")
    ] = 0,
) -> None:
    """Runs case files and prints what disagrees. Exit code 1 when something does."""
    from rich.console import Console
    from rich.progress import track

    from cli.simulation.streams import everything

    console = Console(soft_wrap=True)
    choices: list[CutChoice] = [everything]
    choices += [_by_chance(random.Random(seed + offset)) for offset in range(cuts)]
    found = _case_files(files)
    failed = 0
    for file in track(found, "Testing", console=console, transient=True):
        failed += not _run_file(file, choices, partitions)
    passed = len(found) - failed
    console.print(f"{passed} of {len(found)} cases hold", style="bold red" if failed else "green")
    if failed or not found:
        raise typer.Exit(1)


def _by_chance(chance: random.Random) -> CutChoice:
    """Steps of any size, by chance."""
    return lambda waiting: chance.randint(1, waiting)


def _case_files(files: list[Path]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        if file.is_dir():
            found += sorted(p for p in file.rglob("*") if p.suffix in (".yaml", ".yml", ".json"))
        elif file.exists():
            found.append(file)
        else:
            typer.echo(f"{file}: there is no such file", err=True)
            raise typer.Exit(1)
    return found


def _run_file(file: Path, choices: list[CutChoice], partitions: int) -> bool:
    """Runs one file under every choice of cuts; prints what is wrong. Whether all holds."""
    from cli.reading import TreeFaults
    from cli.simulation.cases import read_case
    from cli.simulation.runs import run_case

    try:
        case = read_case(file.read_text())
    except TreeFaults as faults:
        typer.secho(f"{file}: is no case:", fg="red")
        for line in str(faults).splitlines():
            typer.echo(f"  {line}")
        return False
    for place, choose in enumerate(choices):
        outcome = run_case(case, choose, partitions)
        if outcome.wrong:
            under = f" (cuts {place})" if place else ""
            typer.secho(f"{file}{under}: {case.story}", fg="red")
            for line in outcome.wrong:
                typer.echo(f"  {line}")
            return False
    typer.echo(f"{file}: holds ({outcome.checks} checks, {outcome.transitions} transitions)")
    return True
