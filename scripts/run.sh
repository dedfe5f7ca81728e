#!/usr/bin/env bash
# From whatever this machine has to a running server: `make run`.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh
ensure_engine
ensure_origin
exec "$VENV/bin/python" -m coderunner serve
