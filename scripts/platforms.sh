#!/usr/bin/env bash
# The main path on other engines and Pythons than this machine's: `make test-platforms`, or
# scripts/platforms.sh [--write] [NAME...]. What cannot be had here is told as 'not run'.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
ensure_engine
ensure_origin
export PATH=$PATH:/usr/sbin
exec "$VENV/bin/python" -m tests.platforms "$@"
