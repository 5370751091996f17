#!/usr/bin/env bash
# Stop the engine and remove everything it held in shared memory. Stopping a stopped engine is fine.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
if [ ! -x "$HFT" ]; then
    echo "no engine is running (there is no environment yet)"
    exit 0
fi
exec "$HFT" stop "$@"
