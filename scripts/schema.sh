#!/usr/bin/env bash
# Generates the files that are made from the models in server/coderunner/schema; with --check it only compares.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

PYTHONPATH=server "$VENV/bin/python" -m coderunner.schema.write "$@"
