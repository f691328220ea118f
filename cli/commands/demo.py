"""`muster demo`: real histories, live events, and what the platform makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.running import STATE

if TYPE_CHECKING:
    from cli.demo.player import Player

ENDED_BY_HAND = 0


def command(
    duration: Annotated[
        float | None,
        typer.Option(envvar="DURATION", help="Seconds; for ever if left out."),
    ] = None,
    plain: Annotated[bool, typer.Option(help="Lines instead of a moving picture.")] = False,
    seed: Annotated[int | None, typer.Option(envvar="SEED", help="Draws the crowd.")] = None,
    state: Annotated[Path, typer.Option(help="Where everything is kept.")] = STATE / "demo",
) -> None:
    """The whole platform on real data, moving in the terminal; the exit code tells."""
    interactive = sys.stdout.isatty() and sys.stdin.isatty() and not plain
    raise typer.Exit(asyncio.run(_demo(duration, interactive, seed, state)))


async def _demo(duration: float | None, interactive: bool, seed: int | None, state: Path) -> int:
    from cli.demo.player import NAMED, Player
    from cli.demo.screen import PlainScreen, RichScreen
    from cli.stack import Stack
    from services.chassis import clock

    seed = seed if seed is not None else clock.wall_us() % 1_000_000
    print(f"Muster's demo: real histories, live events (seed {seed}).", flush=True)
    forget_last(state)
    stack = Stack(state, notice=lambda line: print(f"  {line}", flush=True))
    screen = RichScreen() if interactive else PlainScreen(NAMED)
    player = Player(stack, screen, seed, kills=not interactive)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(which, told.set)
    playing = asyncio.create_task(_play(player, duration))
    waiting = asyncio.create_task(told.wait())
    try:
        with keyboard(player.on_key) if interactive else contextlib.nullcontext():
            await asyncio.wait({playing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        by_hand = not playing.done()
        if not by_hand:
            await playing
    finally:
        for task in (playing, waiting):
            task.cancel()
        await asyncio.gather(playing, waiting, return_exceptions=True)
        await player.close()
    player.add_up_so_far()
    return _verdict(player, by_hand)


async def _play(player: Player, duration: float | None) -> None:
    await player.prepare()
    await player.perform(duration)
    await player.add_up()


def _verdict(player: Player, by_hand: bool) -> int:
    """Says what was shown and where the data lies; 0 when nothing was wrong or left out."""
    print("\nWhat the demo showed:")
    for mark, text in player.checks.lines():
        print(f"  {mark:<8} {text}")
    p50, p99 = player.latencies.quantile(0.5), player.latencies.quantile(0.99)
    worst = player.latencies.worst_outage
    outage = f"; while a killed service was away at most {worst:,.0f} ms" * bool(worst)
    print(f"  publish to transition: p50 {p50:.1f} ms, p99 {p99:.1f} ms{outage}")
    folder = player.stack.folder
    print(f"\nNothing runs any more. The data lies in {folder};")
    print(f"go on with it:  ./muster up --state {os.path.relpath(folder)}")
    if player.checks.failed():
        return 1
    return ENDED_BY_HAND if by_hand or player.checks.complete() else 1


def forget_last(state: Path) -> None:
    """Removes what the last demo left; only a folder that is a demo's own, and not in use."""
    from cli.problems import Problem
    from services.chassis.children import is_held

    if not state.exists():
        return
    if not (state / "keys.json").exists() and any(state.iterdir()):
        raise Problem(f"{state} is not a demo's folder: choose another one with --state")
    if is_held(state / "nats" / ".lock") or is_held(state / "postgres" / ".lock"):
        raise Problem(f"a demo already runs over {state}: end it first, or use another --state")
    shutil.rmtree(state)


@contextlib.contextmanager
def keyboard(heard: Callable[[str], None]) -> Iterator[None]:
    """Hears single keys while the demo plays; Ctrl-C stays Ctrl-C."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, lambda: heard(os.read(descriptor, 1).decode(errors="ignore")))
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
