#!/usr/bin/env bash
# Measures a server of its own beside its peers and prints a table: `make bench`; with `--write` it becomes
# docs/performance.md. `scripts/bench.sh languages` measures how soon programs of the languages speak.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
"$VENV/bin/python" -c 'import terminado, matplotlib' 2>/dev/null || {
  step "installing the peers and what draws"
  "$VENV/bin/python" -m pip install --quiet --require-hashes --only-binary=:all: -r requirements-bench.lock ||
    die "pip could not install what requirements-bench.lock names."
}
ensure_engine
ensure_origin
if [ "${1:-}" = languages ]; then
  shift
  exec "$VENV/bin/python" -m tests.bench.languages "$@"
fi
exec "$VENV/bin/python" -m tests.bench "$@"
