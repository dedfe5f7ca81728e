#!/usr/bin/env bash
# Lint, types, import rules, the page's tests, pure logic and documents, in a minute: `make check`. Tests that measure time
# are left to `make test`, as they cannot run beside others.
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
