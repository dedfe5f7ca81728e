#!/usr/bin/env bash
# What can be known in a minute: lint, types, import rules, the page's tests, pure logic, documents: `make check`.
# What measures time is left to `make test`: it would have to wait until all else has ended.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/setup.sh --dev
find_node
log=$(mktemp)
trap 'rm -f "$log"' EXIT
(scripts/lint.sh && step "the web client's own tests" && npm test --silent) >"$log" 2>&1 &
code=0
scripts/test.sh --pure -q || code=$?
wait $! || code=$?
cat "$log"
exit "$code"
