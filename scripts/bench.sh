#!/usr/bin/env bash
# Measures a server of its own beside its peers and prints a table: `make bench`; with `--write` it becomes
# docs/performance.md. `scripts/bench.sh languages` measures how soon programs of the languages speak,
# `scripts/bench.sh sizes` what a session, a socket and a place in the queue cost as there are more of them.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
"$VENV/bin/python" -c 'import terminado, matplotlib, tqdm' 2>/dev/null || {
  step "installing the peers and what draws"
  "$VENV/bin/python" -m pip install --quiet --require-hashes --only-binary=:all: -r requirements-bench.lock ||
    die "pip could not install what requirements-bench.lock names."
}
ensure_engine
ensure_origin
case "${1:-}" in languages | sizes) exec "$VENV/bin/python" -m "tests.bench.$1" "${@:2}" ;; esac
exec "$VENV/bin/python" -m tests.bench "$@"
