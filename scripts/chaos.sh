#!/usr/bin/env bash
# Random kill -9 over all actor processes under load, then the proof that nothing was lost or done twice:
# scripts/chaos.sh --kills 200 --minutes 10. Options and what is checked: tests/chaos/kills.py
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
hft_env test
"$HFT" warm
PYTHONPATH=tests exec "$VENV/bin/python" -m chaos.kills "$@"
