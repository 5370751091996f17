"""Long trials of whole engines under faults: run by scripts/chaos.sh, scripts/kill_matrix.sh and scripts/soak.sh."""
