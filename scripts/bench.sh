#!/usr/bin/env bash
# Measures a server and comparable programs, and prints a table: `make bench`; with `--write` it is written to
# docs/performance.md. `scripts/bench.sh languages` measures the time to the first output of each language's program,
# `scripts/bench.sh sizes` the cost of sessions, sockets and places in the queue as their number grows,
# `scripts/bench.sh programs` what programs get over HTTP: a run, a batch, one-shot sessions, and
# `scripts/bench.sh runtimes` what gVisor costs, where the engine has it.
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
case "${1:-}" in languages | sizes | programs | runtimes) exec "$VENV/bin/python" -m "tests.bench.$1" "${@:2}" ;; esac
exec "$VENV/bin/python" -m tests.bench "$@"
