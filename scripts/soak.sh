#!/usr/bin/env bash
# Uses a server for a long time, with faults of connections, engine and server: `make soak`.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
ensure_engine
ensure_origin
exec "$VENV/bin/python" -m tests.soak "$@"
