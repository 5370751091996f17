#!/usr/bin/env bash
# Start the engine in the background: real venue with keys from .env, or --demo without any.
#   scripts/start_realtime_trading.sh [--demo] [--layout dedicated|compact|inline] [--config FILE] [--set KEY=VALUE]
# Logs go to logs/; stop it with scripts/stop_realtime_trading.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"
case " $* " in
    *" --demo "*) hft_env learn ;; # the demo trains models beside itself
    *) hft_env ;;
esac
exec "$HFT" start --detach "$@"
