# Sourced by the other scripts: brings the project's own environment, .venv, and says what it does.
# With uv when it is there (fast), else with python -m venv. Installs only when pyproject.toml has changed.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
HFT="$VENV/bin/hft"
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONDONTWRITEBYTECODE # containers set it; then every process of an engine compiles every module again, for seconds

_die() {
    echo "error: $*" >&2
    exit 1
}

# The first interpreter of at least 3.11: HFT_PYTHON, then the usual names.
_python() {
    local candidate
    for candidate in ${HFT_PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    _die "Python 3.11 or newer is needed; install it, or name it: HFT_PYTHON=/path/to/python3 $0"
}

_install() { # $1: what to install, e.g. ".[test]"
    if command -v uv >/dev/null 2>&1; then
        [ -x "$VENV/bin/python" ] || uv venv --quiet --python "$(_python)" "$VENV" || return 1
        uv pip install --quiet --python "$VENV/bin/python" -e "$1"
    else
        [ -x "$VENV/bin/python" ] || "$(_python)" -m venv "$VENV" || return 1
        "$VENV/bin/python" -m pip install --quiet -e "$1"
    fi
}

# hft_env EXTRA: the environment with that extra ("" = the engine alone); a no-op when it is up to date.
hft_env() {
    local extra="${1:-}" stamp wanted started
    stamp="$VENV/.installed-${extra:-engine}"
    wanted="$(cat "$ROOT/pyproject.toml" | cksum) $ROOT"
    if [ -x "$HFT" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    started=$SECONDS
    echo "preparing the environment in .venv (first time, or pyproject.toml changed) ..."
    (cd "$ROOT" && _install ".${extra:+[$extra]}") ||
        _die "the environment could not be made; see the message above. Remove .venv and try again."
    printf '%s' "$wanted" >"$stamp"
    echo "environment ready ($((SECONDS - started)) s)"
}
