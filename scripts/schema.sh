#!/usr/bin/env bash
# Generates the files that are made from the models in server/coderunner/schema and the table of routes; with --check it only compares.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

stale=0
PYTHONPATH=server "$VENV/bin/python" -m coderunner.schema.write "$@" || stale=1
PYTHONPATH=server "$VENV/bin/python" -m coderunner.web.api.reference "$@" || stale=1
exit "$stale"
