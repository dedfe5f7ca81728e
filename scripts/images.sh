#!/usr/bin/env bash
# Builds the languages' images: `make images`, or scripts/images.sh renew|build|list|prune [LANGUAGE...]
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh
ensure_engine
ensure_origin
verbose=()
[ "${V:-}" != 1 ] || verbose=(--verbose)
exec "$VENV/bin/python" -m coderunner images "${verbose[@]}" "${@:-build}"
