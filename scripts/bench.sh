#!/usr/bin/env bash
# Measures a server of its own and prints a table: `make bench`.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
ensure_engine
ensure_origin
exec "$VENV/bin/python" -m tests.bench "$@"
