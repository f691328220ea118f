"""`muster up`: the whole platform on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.running import STATE

if TYPE_CHECKING:
    from cli.stack import Stack


def command(
    state: Annotated[Path, typer.Option(help="Where everything is kept.")] = STATE / "up",
    partitions: Annotated[int, typer.Option(min=1, max=16, help="Partitions of profiles.")] = 1,
) -> None:
    """Runs nats-server, PostgreSQL and the five services on loopback, until Ctrl-C."""
    asyncio.run(_up(state, partitions))


async def _up(state: Path, partitions: int) -> None:
    from cli.stack import Stack
    from services.chassis import clock

    began = clock.monotonic()
    stack = Stack(state, partitions=partitions, notice=_say, heard=lambda n, w: _say(f"{n} {w}"))
    told = asyncio.Event()
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(which, told.set)
    starting = asyncio.create_task(stack.start(lambda name: _say(f"{name} is ready")))
    waiting = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            _quietly(_show, stack, clock.monotonic() - began)
            watching = asyncio.create_task(stack.supervisor.failed())
            done, _ = await asyncio.wait({waiting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching in done:
                await watching
    finally:
        for task in (starting, waiting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await stack.stop()
        _quietly(print, f"\nstopped; everything is kept in {stack.folder}", flush=True)


def _say(line: str) -> None:
    _quietly(print, f"  {line}", flush=True)


def _quietly(show: Callable[..., None], *given: Any, **more: Any) -> None:
    """Shows something; that nobody reads it any more is no reason to leave processes behind."""
    with contextlib.suppress(OSError):
        show(*given, **more)


def _show(stack: Stack, took_s: float) -> None:
    """Addresses and what to try."""
    running = stack.running
    print(f"\nMuster is up after {took_s:.1f} s. Everything listens on 127.0.0.1 only.\n")
    print(f"  tenant    {running.tenant}")
    print(f"  token     {stack.keys['token']}   (of NATS; gRPC asks for none on loopback)")
    print(f"  NATS      {running.nats_url}")
    print(f"  Postgres  {running.postgres_url}")
    for name, address in running.addresses.items():
        print(f"  {name:<9} {address}   gRPC with reflection; metrics on port +100")
    print(f"  state     {stack.folder}   (logs in logs/)")
    print("\nTry, in another terminal:\n")
    print("  ./muster publish page_viewed --user ada --set page=/welcome")
    print("  ./muster segments define examples/segments/browsing.yaml")
    print("  ./muster segments watch")
    print("  ./muster doctor\n\nCtrl-C stops it.", flush=True)
