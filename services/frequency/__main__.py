"""`python -m services.frequency` runs the service; `... migrate` brings its schema up to date."""

from __future__ import annotations

import asyncio
import sys

from services.chassis.database import migrate
from services.frequency.service import MIGRATIONS, SCHEMA, run
from services.frequency.settings import FrequencySettings


def main(arguments: list[str]) -> int:
    if arguments == ["migrate"]:
        asyncio.run(migrate(FrequencySettings().postgres_url, SCHEMA, MIGRATIONS))
        return 0
    if arguments:
        sys.stderr.write("usage: python -m services.frequency [migrate]\n")
        return 2
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
