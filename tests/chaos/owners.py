"""Processes that are started again whenever they end, by a harness that also ends them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.harness import ROOT

AGAIN_AFTER_S = 0.2
DEFECTS = {"GAP", "DIVERGED", "LOST", "CLOCK"}


class Owner:
    """One process under a name; its JSON log tells why it ended."""

    def __init__(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.environment = dict(environment)
        self.log = log
        self.lives = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0

    def tend(self) -> None:
        """Starts it if it does not run."""
        if self.process is not None and self.process.poll() is None:
            return
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + AGAIN_AFTER_S
        self.lives += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def said(self) -> list[dict[str, object]]:
        """Its log lines that are JSON."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def exits(self) -> list[str]:
        """The code of every end it announced."""
        return [str(line["code"]) for line in self.said() if line.get("event") == "stopped"]

    def defects(self) -> list[str]:
        """Ends that must not happen, and exceptions nobody expected."""
        return [
            f"{self.name}: {line.get('why') or line.get('exception')}"[:600]
            for line in self.said()
            if line.get("code") in DEFECTS or line.get("event") == "a defect"
        ]
