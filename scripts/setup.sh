#!/usr/bin/env bash
# Makes the virtual environment (.venv) and the web client's bundle (static/dist), if they are missing or out of date.
#
#     scripts/setup.sh [--dev]      --dev: with what the tests need
#     V=1 scripts/setup.sh          with what pip and npm print, which otherwise goes to .run/*.log
#
# If both are up to date, it takes about ten milliseconds and no network.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

LOCK=requirements.lock
[ "${1:-}" != --dev ] || LOCK=requirements-dev.lock

suitable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
    if have "$candidate" && suitable "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

make_venv() {
  # A development lock holds all that the plain one does, so one with it serves both.
  local stamp=$VENV/.made wanted dev
  wanted=$(digest "$LOCK")
  dev=$(digest requirements-dev.lock)
  if [ -x "$VENV/bin/python" ] && { stamped "$stamp" "$wanted" || stamped "$stamp" "$dev"; }; then
    return
  fi
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    local python
    python=$(find_python) || {
      apt_install "Python 3.11 or later, with venv" python3 python3-venv
      python=$(find_python) || die "The system's Python is older than 3.11. Install a newer one," \
        "put it first in PATH, and try again."
    }
    step "making .venv with $("$python" --version)"
    "$python" -m venv --clear "$VENV" >/dev/null || die "$python could not make a virtual environment."
  fi
  step "installing Python packages ($LOCK)"
  pip_install "$VENV/bin/python" "$LOCK" ||
    die "pip could not install what $LOCK names. The first start needs a package index in reach;" \
      "for a machine without one see docs/air-gapped.md."
  printf '%s\n' "$ROOT/server" >"$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/coderunner.pth"
  printf '%s' "$wanted" >"$stamp"
}

# As of an installed package, whose command it is: `.venv/bin/coderunner`.
make_command() {
  local command=$VENV/bin/coderunner
  [ ! -x "$command" ] || return 0
  printf '#!%s\nimport sys\n\nfrom coderunner.__main__ import main\n\nsys.exit(main())\n' "$VENV/bin/python" >"$command"
  chmod 755 "$command"
}

make_bundle() {
  local stamp=static/dist/.made wanted libraries
  # Those that build the page, and with --dev those that look at it.
  libraries="$(digest package.json package-lock.json) ${1:-}"
  wanted=$(digest package.json package-lock.json scripts/bundle.mjs static/index.html static/{admin,app,core,room,style,vendor}/*.* static/core/texts/{,*/}*.js)
  if stamped "$stamp" "$wanted" && { [ "$LOCK" = requirements.lock ] || stamped node_modules/.made "$libraries"; }; then
    return
  fi
  find_node
  if ! stamped node_modules/.made "$libraries" && ! stamped node_modules/.made "${libraries% *} --dev"; then
    step "installing the web client's libraries"
    local extent=--omit=dev
    [ "${1:-}" != --dev ] || extent=--include=dev
    quietly npm.log npm ci "$extent" --ignore-scripts --no-audit --no-fund --loglevel=error ||
      die "npm could not install what package-lock.json names. The first start needs a package registry in reach;" \
        "for a machine without one see docs/air-gapped.md."
    printf '%s' "$libraries" >node_modules/.made
  fi
  stamped "$stamp" "$wanted" && return
  step "bundling the web client"
  quietly bundle.log npm run --silent build || die "The web client could not be bundled; above is the reason."
  printf '%s' "$wanted" >"$stamp"
}

# Two at a time (a run beside a test) would install into each other's half-made folders.
mkdir -p .run
exec 9>.run/setup.lock
flock 9
make_venv
make_command
make_bundle "${1:-}"
