#!/usr/bin/env bash
# Static checks of the code: `make lint`. The checks run at the same time; each one's output is printed whole, in a fixed order.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/setup.sh --dev
find_node
mkdir -p .run
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
names=() jobs=()

# check NAME COMMAND...: starts a check; its exit code and output are read below.
check() {
  local name=$1
  shift
  "$@" >"$logs/${#names[@]}" 2>&1 &
  names+=("$name") jobs+=($!)
}

import_rules() {
  # Without the logo where this version of import-linter has the option.
  PYTHONPATH=server "$VENV/bin/lint-imports" --no-logo 2>/dev/null || PYTHONPATH=server "$VENV/bin/lint-imports"
}

check "ruff" "$VENV/bin/ruff" check .
check "mypy" "$VENV/bin/mypy"
check "import rules" import_rules
check "what is generated from the models" scripts/schema.sh --check
check "the page: eslint, exports that nobody imports, types" npm run --silent lint

code=0
for i in "${!names[@]}"; do
  failed=0
  wait "${jobs[$i]}" || failed=$?
  step "${names[$i]}"
  cat "$logs/$i"
  [ "$failed" = 0 ] || code=1
done
exit "$code"
