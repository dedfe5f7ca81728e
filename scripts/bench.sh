#!/usr/bin/env bash
# Measures a server of its own and prints a table: `make bench`; `scripts/bench.sh languages` does so for how soon
# programs of the languages speak.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
ensure_engine
ensure_origin
if [ "${1:-}" = languages ]; then
  shift
  exec "$VENV/bin/python" -m tests.bench.languages "$@"
fi
exec "$VENV/bin/python" -m tests.bench "$@"
