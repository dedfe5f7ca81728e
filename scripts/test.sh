#!/usr/bin/env bash
# All tests, with what they need: `make test`, or scripts/test.sh PYTEST-ARGUMENTS...
# Those of pure logic alone, which need no engine, no browser and no image: `make test-unit`, or scripts/test.sh --unit.
# Without those of them that measure time: scripts/test.sh --pure.
# With COVERAGE=1, which of the server's lines and branches they reach, and its gate (scripts/coverage.sh).
set -euo pipefail
. "$(dirname "$0")/engine.sh"

# Nothing outside of .venv, and nothing shared: they run beside each other. Where only such paths are given, nothing is
# prepared either. Those that measure time (marked `timed`) are alone all the same.
UNIT=(tests/agent tests/config tests/core tests/docs tests/fleet tests/jobs tests/sessions tests/store tests/wire
  tests/engine/test_sizes.py tests/engine/test_translated.py tests/gate/test_connections.py tests/identity/test_login.py
  tests/images/test_declared.py tests/images/test_origin.py tests/images/test_recipes.py tests/mcp/test_screen.py tests/test_background.py tests/test_bars.py
  tests/test_blocking.py tests/test_prepare.py tests/test_sign.py tests/test_stopping.py tests/test_takeover.py tests/test_timing.py
  tests/test_turns.py
  tests/web/test_bodies.py tests/web/test_events.py tests/web/test_guard.py tests/web/test_leftovers.py tests/web/test_page.py)
BESIDE=4 # most of what they do is to wait

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
  if ! have chromium && ! have google-chrome; then
    # Ubuntu's package of it is an empty one that brings a snap.
    ! grep -qs '^ID=ubuntu$' /etc/os-release || die "Missing: a browser for the tests. Ubuntu has Chromium as a snap only." \
      "Install Google Chrome, or run: snap install chromium" "then try again."
    missing+=(chromium)
  fi
  PATH=$PATH:/usr/sbin have nginx || missing+=(nginx)
  have openssl || missing+=(openssl)
  if ! have docker; then
    # Its own package from Debian 13 on.
    if apt-cache show docker-cli >/dev/null 2>&1; then missing+=(docker-cli); else missing+=(docker.io); fi
  fi
  have git || missing+=(git)
  [ -z "$long" ] || have prometheus || missing+=(prometheus)
  [ -z "$long" ] || compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
  PATH=$PATH:/usr/sbin have mmdebstrap || missing+=(mmdebstrap debian-archive-keyring)
  # The browser tests' driver is a program that a bare Debian lacks a library for.
  "$VENV/bin/python" -m playwright --version >/dev/null 2>&1 || missing+=(libatomic1)
  [ ${#missing[@]} = 0 ] || DO_NOT_START=1 apt_install "what the tests drive" "${missing[@]}"
}

# The slowest are shown: the whole has a bound (.ci/run).
tests() { "$VENV/bin/python" "${MEASURED[@]}" -m pytest --durations=40 --durations-min=5 "$@"; }

# Coverage takes half of a processor's time for itself: what measures time runs without.
timed() {
  local MEASURED=()
  step "pytest: what measures time"
  tests -m "timed and not long" "$@"
}

# pure PYTEST-ARGUMENTS...: the tests of pure logic. One that wants an engine all the same finds none.
pure() {
  step "pytest: pure logic, $BESIDE beside each other"
  DOCKER_HOST=unix:///nowhere tests -n "$BESIDE" --dist worksteal -m "not long and not timed" "${UNIT[@]}" "$@"
}

# The long suites in two parts beside each other, as most of what they do is to wait: half of the time. The second's output
# follows the first's, and the tests that failed in either are noted where scripts/flaky.py looks.
APART=(tests/languages tests/images tests/nginx tests/faults/test_attach_stream.py)
long_suites() {
  local code=0 other=0 second cache=.run/second-cache
  rm -rf "$cache"
  step "pytest: the long suites, in two parts beside each other"
  tests -m long -o cache_dir="$cache" "${APART[@]}" >.run/second.log 2>&1 &
  second=$!
  tests -m long tests "${APART[@]/#/--ignore=}" || code=$?
  wait "$second" || other=$?
  cat .run/second.log
  "$VENV/bin/python" - .pytest_cache "$cache" <<'END'
import json, pathlib, sys

first, second = (pathlib.Path(folder, "v/cache/lastfailed") for folder in sys.argv[1:])
found = {test: True for file in (first, second) if file.exists() for test in json.loads(file.read_text())}
first.parent.mkdir(parents=True, exist_ok=True)
first.write_text(json.dumps(found))
END
  if [ "$other" -gt "$code" ]; then code=$other; fi
  return "$code"
}

scripts/setup.sh --dev
case " $* " in *" -m "*) long=1 ;; *) long= ;; esac
MEASURED=()
if [ -n "${COVERAGE:-}" ]; then
  # Each process of the server writes into .run/coverage; scripts/coverage.sh puts it together.
  MEASURED=(-m coverage run)
  unset COVERAGE # tests run this script, too
  rm -rf .run/coverage
  mkdir -p .run/coverage
fi
if [ "${1:-}" = --pure ]; then
  shift
  pure "$@"
  exit
fi
if [ "${1:-}" = --unit ]; then
  shift
  code=0
  pure "$@" || code=$?
  DOCKER_HOST=unix:///nowhere timed "${UNIT[@]}" "$@" || code=$?
  exit "$code"
fi
if only_unit "$@"; then
  DOCKER_HOST=unix:///nowhere tests "$@"
  exit
fi
ensure_engine
ensure_origin
ensure_tools
find_node
checks=
if [ $# = 0 ]; then
  step "lint, and the web client's own tests, beside what follows"
  (scripts/lint.sh && npm test --silent) >.run/checks.log 2>&1 &
  checks=$!
fi
step "the languages' images"
# Made before the tests, whose time is bounded; with the settings that the tests' servers have.
# The plain run has few of the languages, the long suites (-m) all.
names=()
if [ -z "$long" ]; then
  read -ra names <<<"$(PYTHONPATH=server:. "$VENV/bin/python" -c 'from tests.harness import LANGUAGES as names; print(*names)')"
fi
LANGUAGES="" "$VENV/bin/python" -m coderunner --env-file /dev/null images build "${names[@]}"
export PATH=$PATH:/usr/sbin
if [ "$*" = "-m long" ]; then
  long_suites
  exit
fi
if [ $# != 0 ]; then
  step "pytest"
  tests "$@"
  exit
fi
if ! wait "$checks"; then
  cat .run/checks.log
  die "Lint or the web client's tests failed: see above."
fi
# All parts are run even if one fails, so that all failures are shown at once.
code=0
pure || code=$?
step "pytest: real engine, real nginx, real browser; two files beside each other"
tests -n 2 --dist loadscope --no-loadscope-reorder -m "not long and not timed" tests "${UNIT[@]/#/--ignore=}" || code=$?
timed || code=$?
exit "$code"
