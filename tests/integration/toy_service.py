"""A process with the toy sorter as its worker: what every service is, without a domain."""

from __future__ import annotations

from services.chassis import subjects
from services.chassis.application import Application
from services.chassis.settings import Settings
from tests.chaos.toy import Sorter


def main() -> None:
    app = Application(Settings(), "toy", streams={subjects.INTAKE, subjects.PROFILES})
    app.work(Sorter())
    app.run()


if __name__ == "__main__":
    main()
