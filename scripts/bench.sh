#!/usr/bin/env bash
# All benchmarks: tables for people, one JSON object on the last line.
#   scripts/bench.sh [--quick | --full] [--json FILE] [--only NAME]...
# --quick: one short run of each, under three minutes, to see that all is well; figures to quote come from --full.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
ARGUMENTS=()
while [ $# -gt 0 ]; do
    case "$1" in
        --json) # relative to where the caller stands
            [ $# -ge 2 ] || _die "--json needs a file name"
            ARGUMENTS+=(--json "$(realpath -m "$2")")
            shift 2
            ;;
        *)
            ARGUMENTS+=("$1")
            shift
            ;;
    esac
done
cd "$ROOT"
hft_env test
"$HFT" warm # kernels compiled once, not inside a measurement
exec "$VENV/bin/python" -m benchmarks.all "${ARGUMENTS[@]+"${ARGUMENTS[@]}"}"
