#!/usr/bin/env bash
# Checks the Python packages and the web client's libraries for known vulnerabilities: `make audit`, and a part of .ci/run.
# A vulnerability fails it. If the database cannot be reached, it says so and does not fail.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
SECONDS_MAX=60

scripts/setup.sh --dev
find_node
code=0

step "pip-audit: requirements.lock, requirements-dev.lock"
AUDIT=$ROOT/.run/audit
if ! [ -x "$AUDIT/bin/pip-audit" ]; then
  "$VENV/bin/python" -m venv --clear "$AUDIT" && "$AUDIT/bin/python" -m pip install --quiet --require-hashes \
    --only-binary=:all: -r requirements-audit.lock || rm -rf "$AUDIT"
fi
# unaudited WHAT OUTPUT: the database was not there.
unaudited() { say "NOT AUDITED: $1 did not answer:" "$(tail -n 2 "$2")"; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! [ -x "$AUDIT/bin/pip-audit" ]; then
  say "NOT AUDITED: pip-audit could not be installed."
else
  for lock in requirements.lock requirements-dev.lock; do
    if timeout "$SECONDS_MAX" "$AUDIT/bin/pip-audit" --progress-spinner off --disable-pip --require-hashes \
      --timeout 15 -r "$lock" >"$log" 2>&1; then
      skipped=$(grep -c "could not be audited" "$log" || true)
      if [ "$skipped" = 0 ]; then
        say "$lock: nothing known"
      else
        say "NOT AUDITED: $skipped packages of $lock, which the database does not answer for"
      fi
    elif grep -q "^Found [0-9]* known vulnerabilit" "$log"; then
      cat "$log"
      code=1
    else
      unaudited "the database of Python packages" "$log"
    fi
  done
fi

step "npm audit: package-lock.json"
if timeout "$SECONDS_MAX" npm audit --audit-level=low >"$log" 2>&1; then
  tail -n 1 "$log"
elif grep -q "vulnerabilit" "$log"; then
  cat "$log"
  code=1
else
  unaudited "the database of npm" "$log"
fi
exit "$code"
