#!/usr/bin/env bash
# A long run under an even load: memory, descriptors and threads of every process must stay as they are:
# scripts/soak.sh --minutes 30 --rate 2000. Options and what is checked: tests/chaos/soak.py
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
hft_env test
"$HFT" warm
PYTHONPATH=tests exec "$VENV/bin/python" -m chaos.soak "$@"
