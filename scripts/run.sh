#!/usr/bin/env bash
# Installs what this machine lacks, builds the images, and starts the server: `make run`.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh
ensure_engine
ensure_origin
exec "$VENV/bin/python" -m coderunner serve
