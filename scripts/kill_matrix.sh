#!/usr/bin/env bash
# Every way to die x every process x every state of the engine, and how each must end:
# scripts/kill_matrix.sh. Options: tests/chaos/matrix.py
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
hft_env test
"$HFT" warm
PYTHONPATH=tests exec "$VENV/bin/python" -m chaos.matrix "$@"
