#!/usr/bin/env bash
# All benchmarks: tables for people, one JSON object on the last line.
#   scripts/bench.sh [--quick | --full] [--json FILE] [--out DIR] [--only NAME]...
# --quick: one short run of each, three minutes (173 s on two cores of an AMD EPYC), to see that all is well; figures to quote come from --full.
# --out: also one page, DIR/index.html, with tables and percentile curves, and DIR/hdr for the HdrHistogram plotter.
# --quick needs the test extra; everything else compares with peers and brings the bench extra, too.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
ARGUMENTS=()
EXTRA=test,bench
while [ $# -gt 0 ]; do
    case "$1" in
        --json | --out) # relative to where the caller stands
            [ $# -ge 2 ] || _die "$1 needs a name"
            ARGUMENTS+=("$1" "$(realpath -m "$2")")
            shift 2
            ;;
        *)
            [ "$1" != --quick ] || EXTRA=test
            ARGUMENTS+=("$1")
            shift
            ;;
    esac
done
cd "$ROOT"
hft_env "$EXTRA"
"$HFT" warm # kernels compiled once, not inside a measurement
exec "$VENV/bin/python" -m benchmarks.all "${ARGUMENTS[@]+"${ARGUMENTS[@]}"}"
