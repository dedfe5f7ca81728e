#!/usr/bin/env bash
# Lint, types, import rules, the page's tests, pure logic and documents, in a minute: `make check`. Tests that measure time
# are left to `make test`, as they cannot run beside others.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/setup.sh --dev
find_node
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
scripts/lint.sh >"$logs/lint" 2>&1 &
lint=$!
npm test --silent >"$logs/page" 2>&1 &
page=$!
code=0
scripts/test.sh --pure -q || code=$?
wait "$lint" || code=$?
cat "$logs/lint"
step "the web client's own tests"
wait "$page" || code=$?
cat "$logs/page"
exit "$code"
