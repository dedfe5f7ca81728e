# shellcheck shell=bash
# What the scripts share. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
NODE_VENV=$ROOT/.node
export PIP_DISABLE_PIP_VERSION_CHECK=1 NPM_CONFIG_UPDATE_NOTIFIER=false PYTHONDONTWRITEBYTECODE=
cd "$ROOT" || exit 1

say() { printf '%s\n' "$*"; }
step() { printf -- '-- %s\n' "$*"; }
# quietly LOG COMMAND...: the output goes to .run/LOG, and its end is shown if the command fails; with V=1 all is shown.
quietly() {
  local log=.run/$1
  shift
  if [ "${V:-}" = 1 ]; then
    "$@" </dev/null
    return
  fi
  mkdir -p .run
  "$@" </dev/null >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    return 1
  }
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# die WORDS...: each argument a line.
die() {
  printf '\n' >&2
  printf '%s\n' "$@" >&2
  exit 1
}

# apt_install WHAT-FOR PACKAGE...: installs packages with apt if possible; otherwise says what to do.
apt_install() {
  local purpose=$1
  shift
  local command="apt-get install --no-install-recommends $*"
  have apt-get || die "Missing: $purpose." "Install with this system's package manager what Debian calls: $*"
  is_root || die "Missing: $purpose. As root, run:" "    $command" "then try again."
  step "installing $purpose: $*"
  export DEBIAN_FRONTEND=noninteractive
  local policy=/usr/sbin/policy-rc.d
  if [ -n "${DO_NOT_START:-}" ] && [ ! -e "$policy" ]; then
    # The tests start servers of their own; one of the package's would hold the machine's port 80.
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  # The lists may be absent (a fresh machine) or old (a version in them is gone): so update, then try again.
  if ! quietly apt.log apt-get install -y --no-install-recommends "$@" 2>/dev/null; then
    if ! quietly apt.log apt-get update || ! quietly apt.log apt-get install -y --no-install-recommends "$@"; then
      die "apt could not install $purpose. If this machine has no network, see docs/air-gapped.md;" \
        "otherwise fix what apt reports above (as root: apt-get update), and try again."
    fi
  fi
  if [ -n "${DO_NOT_START:-}" ] && [ "$(trap -p EXIT)" ]; then
    rm -f "$policy"
    trap - EXIT
  fi
}

# pip_install PYTHON LOCK: installs what a lock file names, each with its hash.
pip_install() { quietly pip.log "$1" -m pip install --progress-bar off --require-hashes --only-binary=:all: -r "$2"; }

# stamped FILE DIGEST: true if FILE holds DIGEST, so that what it stands for is up to date.
stamped() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

node_suitable() { have node && have npm && node -e 'process.exit(+(parseInt(process.versions.node) < 18))'; }

# Node.js of the machine, else from PyPI into an environment of its own.
find_node() {
  if node_suitable; then
    return
  fi
  PATH=$NODE_VENV/bin:$PATH
  export PATH
  if ! node_suitable; then
    step "installing Node.js from the package index into .node (only to build the web client)"
    "$VENV/bin/python" -m venv --clear "$NODE_VENV"
    pip_install "$NODE_VENV/bin/python" requirements-node.lock ||
      die "Node.js could not be had from the package index. Install Node.js 18 or later with npm, and try again."
    node_suitable || die "The Node.js in .node does not run here. Install Node.js 18 or later with npm, and try again."
  fi
}
