"""The moving picture: a screen that redraws itself, or plain lines where there is no terminal."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from cli.demo.checks import Checks, Latencies, Ledger, Turns

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.layout import Layout
    from rich.live import Live

TRANSITIONS_KEPT = 40
STORIES_KEPT = 40
TRY = (
    "./muster segments watch browsing-now",
    "./muster segments explain big-spenders user_id={almost}",
    "./muster identity show user_id=yusuf",
    "./muster publish order_completed --user you --set total=1200 --set currency=USD",
    "./muster segments check user_id=you",
)


@dataclass
class Picture:
    """Everything there is to show; the player writes it, screens read it."""

    tenant: str
    folder: str
    almost: str
    checks: Checks
    ledger: Ledger
    turns: Turns
    latencies: Latencies
    seconds: float = 0.0
    published_per_s: float = 0.0
    counted_per_s: float = 0.0
    transitions_per_s: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)
    flow: dict[str, tuple[int, int]] = field(default_factory=dict)
    allowed: int = 0
    deferred: int = 0
    alerts: str = "quiet"
    kill: str = ""
    transitions: deque[tuple[str, str, bool, str, str]] = field(
        default_factory=lambda: deque(maxlen=TRANSITIONS_KEPT)
    )
    stories: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=STORIES_KEPT))

    def commands(self) -> list[str]:
        return [line.format(almost=self.almost) for line in TRY]

    def status(self) -> str:
        """One line of figures."""
        p50, p99 = self.latencies.quantile(0.5), self.latencies.quantile(0.99)
        return (
            f"{self.counted_per_s:,.0f} events/s  {self.transitions_per_s:,.0f} transitions/s  "
            f"publish to transition p50 {p50:.0f} ms, p99 {p99:.0f} ms  "
            f"lost {self.lost()}  twice {self.ledger.twice + self.turns.repeated}"
        )

    def lost(self) -> int:
        return self.turns.missing


class Screen(Protocol):
    """Where the picture goes."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def draw(self, picture: Picture) -> None: ...
    def story(self, clock: str, kind: str, text: str) -> None: ...
    def transition(self, clock: str, name: str, entered: bool, segment: str, why: str) -> None: ...


class PlainScreen:
    """Lines on standard output: stories as they happen, named transitions, a status now and then.

    named: whose transitions are worth a line; those of the crowd are only counted.
    """

    STATUS_EVERY_S = 3.0

    def __init__(self, named: set[str]) -> None:
        self._named = named
        self._status_due = 0.0

    def open(self) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to tidy up."""

    def draw(self, picture: Picture) -> None:
        if picture.seconds >= self._status_due:
            self._status_due = picture.seconds + self.STATUS_EVERY_S
            print(f"  {picture.status()}", flush=True)
            sizes = "  ".join(f"{name} {size:,}" for name, size in picture.sizes.items())
            print(f"  {sizes}", flush=True)

    def story(self, clock: str, kind: str, text: str) -> None:
        print(f"{clock}  {kind:<9} {text}", flush=True)

    def transition(self, clock: str, name: str, entered: bool, segment: str, why: str) -> None:
        if name in self._named:
            print(f"{clock}  {'entered' if entered else 'left':<9} {name}: {segment} ({why})")


class RichScreen:
    """A full screen that redraws itself."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def open(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(), screen=True, auto_refresh=False)
        self._live.start()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def draw(self, picture: Picture) -> None:
        if self._live is not None:
            self._live.update(layout(picture, self._live.console.size.height), refresh=True)

    def story(self, clock: str, kind: str, text: str) -> None:
        """It is in the picture."""

    def transition(self, clock: str, name: str, entered: bool, segment: str, why: str) -> None:
        """It is in the picture."""


def layout(picture: Picture, height: int) -> Layout:
    """The whole screen."""
    from rich.layout import Layout

    rows = max(8, height - 5 - 7)
    stories = max(4, rows * 2 // 5)
    root = Layout()
    root.split_column(
        Layout(_header(picture), size=5),
        Layout(name="middle"),
        Layout(_stories(picture, stories), size=stories + 2),
        Layout(_footer(picture), size=7),
    )
    root["middle"].split_row(
        Layout(_segments(picture), ratio=5),
        Layout(_transitions(picture, max(3, rows - stories - 2)), ratio=6),
    )
    return root


def _panel(title: str, inside: RenderableType) -> RenderableType:
    from rich.panel import Panel

    return Panel(inside, title=title, title_align="left", border_style="bright_black")


def _header(picture: Picture) -> RenderableType:
    from rich.text import Text

    p50, p99 = picture.latencies.quantile(0.5), picture.latencies.quantile(0.99)
    lost, twice = picture.lost(), picture.ledger.twice + picture.turns.repeated
    text = Text()
    text.append(f"{picture.counted_per_s:7,.0f}", "bold cyan")
    text.append(" events/s   ")
    text.append(f"{picture.transitions_per_s:5,.0f}", "bold cyan")
    text.append(" transitions/s   publish → transition  p50 ")
    text.append(f"{p50:.0f} ms", "bold cyan")
    text.append("  p99 ")
    text.append(f"{p99:.0f} ms\n", "bold cyan")
    text.append(f"lost {lost}  twice {twice}", "bold red" if lost or twice else "bold green")
    text.append(f"   events counted {len(picture.ledger.counted):,}")
    text.append(f"   messages {picture.allowed} allowed, {picture.deferred} deferred")
    text.append("   alert ")
    text.append(picture.alerts, "bold red" if picture.alerts.startswith("raised") else "green")
    if picture.kill:
        text.append(f"\n{picture.kill}", "yellow")
    return _panel(f"Muster · tenant {picture.tenant} · {picture.seconds:.0f} s", text)


def _segments(picture: Picture) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, expand=True, pad_edge=False)
    table.add_column("segment")
    for head in ("members", "in", "out"):
        table.add_column(head, justify="right")
    for name, size in picture.sizes.items():
        came, went = picture.flow.get(name, (0, 0))
        table.add_row(
            name,
            f"{size:,}",
            f"[green]+{came}[/]" if came else "",
            f"[red]-{went}[/]" if went else "",
        )
    return _panel("segments, and their last ten seconds", table)


def _transitions(picture: Picture, rows: int) -> RenderableType:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for clock, name, entered, segment, why in list(picture.transitions)[-rows:]:
        text.append(f"{clock} ", "bright_black")
        text.append("+ " if entered else "- ", "green" if entered else "red")
        text.append(f"{name:<16.16} {segment:<19}")
        text.append(f"{why}\n", "bright_black")
    return _panel("transitions", text)


def _stories(picture: Picture, rows: int) -> RenderableType:
    from rich.text import Text

    colours: dict[str, Any] = {"alert": "red", "message": "magenta", "kill": "yellow"}
    text = Text(no_wrap=True, overflow="ellipsis")
    for clock, kind, line in list(picture.stories)[-rows:]:
        text.append(f"{clock} ", "bright_black")
        text.append(f"{kind:<9} ", colours.get(kind, "cyan"))
        text.append(f"{line}\n")
    return _panel("what happens", text)


def _footer(picture: Picture) -> RenderableType:
    from rich.text import Text

    done = sum(bool(check.ok) for check in picture.checks.of.values())
    text = Text("\n".join(picture.commands()), no_wrap=True, overflow="ellipsis")
    title = f"try in another terminal · {done} of {len(picture.checks.of)} shown"
    return _panel(f"{title} · k: kill -9 a service · Ctrl-C ends", text)
