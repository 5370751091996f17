#!/usr/bin/env bash
# All tests, in an environment of the project's own. Arguments go to pytest: scripts/test.sh tests/unit -k ring
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
hft_env test
"$HFT" warm # kernels compiled once, not inside a test's time-out
# Several at a time, one more than there are cores, as most of them wait. All in this process: scripts/test.sh -n 0
# One that crashes ends the run: in its place another would wait for what the dead one had been given.
exec "$VENV/bin/python" -m pytest -n "$(($(nproc) < 4 ? $(nproc) + 1 : 5))" --max-worker-restart=0 "$@"
