#!/usr/bin/env bash
# Scenarios of faults declared as data (tests/system/scenarios), or pairs of faults composed by a seed:
# scripts/chaos_scenarios.sh [NAME ...] [--pairs N] [--seed N]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
hft_env test
"$HFT" warm
PYTHONPATH=tests exec "$VENV/bin/python" -m chaos.scenarios "$@"
