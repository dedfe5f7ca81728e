#!/usr/bin/env bash
# Visitors for a while, with everything between them and the engine breaking: `make soak`.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
ensure_engine
ensure_origin
exec "$VENV/bin/python" -m tests.soak "$@"
