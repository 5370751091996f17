#!/usr/bin/env bash
# All tests, in an environment of the project's own. Arguments go to pytest: scripts/test.sh tests/unit -k ring
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
hft_env test
"$HFT" warm # kernels compiled once, not inside a test's time-out
exec "$VENV/bin/python" -m pytest "$@"
