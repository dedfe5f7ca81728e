#!/usr/bin/env bash
# Installs what this machine lacks, builds the images, and starts the server: `make run`. With V=1
# each step of the builds and what package managers print is shown, too.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh
ensure_engine
ensure_origin
verbose=()
[ "${V:-}" != 1 ] || verbose=(--verbose)
exec "$VENV/bin/python" -m coderunner serve "${verbose[@]}"
