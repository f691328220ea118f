"""`./muster` and `python -m cli`: runs a command and words what goes wrong."""

from __future__ import annotations

import sys


def main() -> int:
    from cli.app import app
    from cli.problems import Problem, describe_call
    from cli.reading import TreeFaults
    from services.chassis.children import ChildFailed

    try:
        app(standalone_mode=True, prog_name="muster")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except (Problem, ChildFailed, TreeFaults) as problem:
        print(f"muster: {problem}", file=sys.stderr)
        return 1
    except Exception as error:
        grpc = sys.modules.get("grpc")
        if grpc is not None and isinstance(error, grpc.RpcError) and hasattr(error, "code"):
            print(f"muster: {describe_call(error)}", file=sys.stderr)
            return 1
        nats = sys.modules.get("nats.errors")
        if nats is not None and isinstance(error, nats.Error):
            print(f"muster: nats: {error}; `./muster doctor` looks at it", file=sys.stderr)
            return 1
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
