"""`python -m services.alerts` runs the service; `... migrate` brings its schema up to date."""

from __future__ import annotations

import asyncio
import sys

from services.alerts.service import MIGRATIONS, SCHEMA, run
from services.alerts.settings import AlertsSettings
from services.chassis.database import migrate


def main(arguments: list[str]) -> int:
    if arguments == ["migrate"]:
        asyncio.run(migrate(AlertsSettings().postgres_url, SCHEMA, MIGRATIONS))
        return 0
    if arguments:
        sys.stderr.write("usage: python -m services.alerts [migrate]\n")
        return 2
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
