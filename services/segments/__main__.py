"""`python -m services.segments [engine|relay]`; without a role it runs both and restarts them."""

from __future__ import annotations

import sys

from services.segments.settings import SegmentsSettings

ROLES = ("engine", "relay")


def main(arguments: list[str]) -> int:
    """Runs a role until told to stop; 2 for an unknown one."""
    if not arguments:
        from services.chassis.supervisor import run_roles

        return run_roles("services.segments", ROLES)
    if arguments[0] not in ROLES or len(arguments) > 1:
        sys.stderr.write("usage: python -m services.segments [engine|relay]\n")
        return 2
    from services.segments import service

    make = {"engine": service.engine_application, "relay": service.relay_application}
    make[arguments[0]](SegmentsSettings()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
