#!/usr/bin/env bash
# All tests, with what they need: `make test`, or scripts/test.sh PYTEST-ARGUMENTS...
# Those of pure logic alone, which need no engine, no browser and no image: `make test-unit`, or scripts/test.sh --unit.
set -euo pipefail
. "$(dirname "$0")/engine.sh"

# Seconds, and nothing outside of .venv. Where only such paths are given, nothing is prepared either.
UNIT=(tests/core tests/config tests/docs tests/engine/test_sizes.py tests/images/test_declared.py
  tests/images/test_origin.py tests/images/test_recipes.py tests/sessions/test_deadlines.py tests/fleet/test_queue.py
  tests/fleet/test_uids.py tests/fleet/test_warm.py tests/fleet/test_workers.py tests/web/test_guard.py tests/web/test_page.py)

# only_unit ARGUMENT...: true if there are paths among them, and all lie in UNIT.
only_unit() {
  local word unit found=1
  for word in "$@"; do
    [[ $word == tests* ]] || continue
    found=0
    for unit in "${UNIT[@]}"; do
      case ${word%/} in "$unit" | "$unit"/* | "$unit"::*) continue 2 ;; esac
    done
    return 1
  done
  return "$found"
}

ensure_tools() {
  local missing=()
  have chromium || have google-chrome || missing+=(chromium)
  PATH=$PATH:/usr/sbin have nginx || missing+=(nginx)
  have openssl || missing+=(openssl)
  if ! have docker; then
    # Its own package from Debian 13 on.
    if apt-cache show docker-cli >/dev/null 2>&1; then missing+=(docker-cli); else missing+=(docker.io); fi
  fi
  have git || missing+=(git)
  PATH=$PATH:/usr/sbin have mmdebstrap || missing+=(mmdebstrap)
  # The browser tests' driver is a program that a bare Debian lacks a library for.
  "$VENV/bin/python" -m playwright --version >/dev/null 2>&1 || missing+=(libatomic1)
  [ ${#missing[@]} = 0 ] || DO_NOT_START=1 apt_install "what the tests drive" "${missing[@]}"
}

scripts/setup.sh --dev
if [ "${1:-}" = --unit ]; then
  shift
  set -- "${UNIT[@]}" "$@"
fi
if only_unit "$@"; then
  # A test that wants an engine all the same finds none.
  DOCKER_HOST=unix:///nowhere exec "$VENV/bin/python" -m pytest "$@"
fi
ensure_engine
ensure_origin
ensure_tools
find_node
if [ $# = 0 ]; then
  scripts/lint.sh
  step "the web client's own tests"
  npm test --silent
fi
step "the languages' images"
# Made before the tests, whose time is bounded; with the settings that the tests' servers have.
# The plain run has few of the languages, the long suites (-m) all.
names=()
case " $* " in
  *" -m "*) ;;
  *) read -ra names <<<"$(PYTHONPATH=server:. "$VENV/bin/python" -c 'from tests.harness import LANGUAGES as names; print(*names)')" ;;
esac
LANGUAGES="" "$VENV/bin/python" -m coderunner --env-file /dev/null images build "${names[@]}"
step "pytest"
export PATH=$PATH:/usr/sbin
exec "$VENV/bin/python" -m pytest "$@"
