#!/bin/sh
# Finds a Python that is new enough and lets it do the rest: tools/setup.sh runtime|test|bench
set -eu
root=$(cd -- "$(dirname -- "$0")/.." && pwd -P)
for candidate in ${PYTHON:-} python3.14 python3.13 python3.12 python3.11 python3 python; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            exec "$candidate" "$root/tools/setup.py" "$@"
        fi
        incomplete=$candidate
    fi
done
if [ -n "${incomplete:-}" ]; then
    version=$("$incomplete" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    cat >&2 <<END
Muster: $incomplete cannot make virtual environments: its modules venv and ensurepip are missing.
  Debian, Ubuntu:  apt install python$version-venv
  others:          install the full Python $version of your system
Then run the same command again.
END
    exit 1
fi
cat >&2 <<'END'
Muster: it needs Python 3.11 or newer, and none was found.
  Debian 12+, Ubuntu 24.04+:  apt install python3 python3-venv
  macOS:                      brew install python
  Or name one:                PYTHON=/path/to/python3.12 make demo
END
exit 1
