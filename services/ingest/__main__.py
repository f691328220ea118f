"""`python -m services.ingest [doors|worker]`; without a role it runs both and restarts them."""

from __future__ import annotations

import sys

from services.ingest.settings import IngestSettings

ROLES = ("doors", "worker")


def main(arguments: list[str]) -> int:
    """Runs a role until told to stop; 2 for an unknown one."""
    if not arguments:
        from services.chassis.supervisor import run_roles

        return run_roles("services.ingest", ROLES)
    if arguments[0] not in ROLES or len(arguments) > 1:
        sys.stderr.write("usage: python -m services.ingest [doors|worker]\n")
        return 2
    from services.ingest import service

    make = {"doors": service.doors_application, "worker": service.worker_application}
    make[arguments[0]](IngestSettings()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
