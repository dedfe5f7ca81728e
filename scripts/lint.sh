#!/usr/bin/env bash
# Static checks of the code: `make lint`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/setup.sh --dev
step "ruff"
"$VENV/bin/ruff" check .
step "mypy"
"$VENV/bin/mypy"
step "import rules"
PYTHONPATH=server "$VENV/bin/lint-imports" --no-logo 2>/dev/null || PYTHONPATH=server "$VENV/bin/lint-imports"
step "what is made from the models"
scripts/schema.sh --check
find_node
step "the page: eslint, exports that nobody imports, types"
npm run --silent lint
