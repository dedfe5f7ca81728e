#!/usr/bin/env bash
# All tests, with what they need: `make test`, or scripts/test.sh PYTEST-ARGUMENTS...
set -euo pipefail
. "$(dirname "$0")/engine.sh"

ensure_tools() {
  local missing=()
  have chromium || have google-chrome || missing+=(chromium)
  PATH=$PATH:/usr/sbin have nginx || missing+=(nginx)
  have openssl || missing+=(openssl)
  have docker || missing+=(docker.io)
  # The browser tests' driver is a program that a bare Debian lacks a library for.
  "$VENV/bin/python" -m playwright --version >/dev/null 2>&1 || missing+=(libatomic1)
  [ ${#missing[@]} = 0 ] || DO_NOT_START=1 apt_install "what the tests drive" "${missing[@]}"
}

scripts/setup.sh --dev
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
