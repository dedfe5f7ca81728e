#!/usr/bin/env bash
# Combines the data of a test run with COVERAGE=1, and checks the minimum coverage: `make coverage`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

coverage() { "$VENV/bin/python" -m coverage "$@"; }
# gate PERCENT NAME PATTERN...: lines and branches together.
gate() {
  local least=$1 name=$2 total
  shift 2
  total=$(coverage report --format=total --precision=1 "$@")
  say "coverage of $name: $total%, at least $least%"
  awk "BEGIN { exit !($total >= $least) }" || code=1
}

coverage combine --quiet || die "Nothing was measured. Run COVERAGE=1 scripts/test.sh before."
coverage report --skip-covered --sort=cover
code=0
for package in core schema wire; do
  gate 95 "$package/" --include="*/coderunner/$package/*"
done
# Clients of the server run as programs of their own, in tests that only the long suites have, which run without coverage;
# the reference of the API is written by scripts/schema.sh. The server imports none of them.
APART=('*/coderunner/bench/*' '*/coderunner/client/*' '*/coderunner/mcp/*' '*/coderunner/web/api/reference.py')
gate 90 "all that the server imports" --omit="$(IFS=,; echo "${APART[*]}")"
[ "$code" = 0 ] || say "What no test reaches needs a test of its own, or is not needed."
exit "$code"
