#!/usr/bin/env bash
# Finds a container engine that answers; otherwise installs and starts one (as root on Debian).
#
#     scripts/engine.sh stop        stops the engine that `make run` started
#     . scripts/engine.sh           gives the function ensure_engine, which may set DOCKER_HOST
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ENGINE_SOCKET=/var/run/docker.sock
ENGINE_PID=/run/coderunner-engine.pid
ENGINE_LOG=/var/log/coderunner-engine.log
ENGINE_SECONDS=60

answers() { "$VENV/bin/python" scripts/ping_engine.py "$1"; }

systemd_runs() { [ -d /run/systemd/system ]; }

# Sets DOCKER_HOST if the server would not find the engine by itself. Returns 0 if one answers, 3 if this user may not
# use it, 1 if there is none.
find_engine() {
  local place code=1 configured=${DOCKER_HOST:-}
  if [ -z "$configured" ] && [ -f .env ]; then
    configured=$(sed -n 's/^DOCKER_HOST=["'\'']\{0,1\}\([^"'\'' #]*\).*/\1/p' .env | tail -n 1)
  fi
  if [ -n "$configured" ]; then
    answers "$configured" && return 0
    die "DOCKER_HOST is $configured, but no engine answers there (or this user may not use it)." \
      "Start that engine, or remove the setting to use the one of this machine."
  fi
  for place in /var/run/docker.sock /run/docker.sock "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock" \
    "${HOME:-/nonexistent}/.docker/run/docker.sock"; do
    [ -S "$place" ] || continue
    local result=0
    answers "unix://$place" || result=$?
    if [ "$result" = 0 ]; then
      export DOCKER_HOST=unix://$place
      return 0
    fi
    [ "$result" != 3 ] || code=3
  done
  return "$code"
}

wait_for_engine() {
  local pid=${1:-} deadline=$((SECONDS + ENGINE_SECONDS))
  until find_engine; do
    if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
      return 1
    fi
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

install_engine() {
  if [ ! -e /etc/docker/daemon.json ]; then
    # Sessions then outlive a restart of the engine.
    mkdir -p /etc/docker
    printf '{\n  "live-restore": true\n}\n' >/etc/docker/daemon.json
  fi
  # Without apparmor, which is only recommended, the engine lets containers run unconfined.
  # Debian's keys, for mmdebstrap: on Ubuntu they are a package that nothing else needs.
  apt_install "the container engine" docker.io iptables ca-certificates mmdebstrap debian-archive-keyring apparmor
  have docker || apt_install "the engine's command" docker-cli # a package of its own from Debian 13 on
}

# A killed engine leaves its PID files. If these processes are dead but not reaped, the next engine takes them for running
# ones and does not start.
forget_dead_engine() {
  local file pid
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) in
      "" | Z | X) rm -f "$file" ;;
    esac
  done
}

start_engine() {
  local flags=()
  if systemd_runs; then
    step "starting the container engine (systemctl start docker)"
    systemctl start docker || true
    wait_for_engine ||
      die "The engine does not answer. See: systemctl status docker, journalctl -u docker"
    say "   stop it with: systemctl stop docker docker.socket"
    return
  fi
  if ! mountpoint -q /sys/fs/cgroup; then
    die "No cgroup file system is mounted, and the engine needs one. As root, run:" \
      "    mount -t cgroup2 cgroup2 /sys/fs/cgroup" "then try again."
  fi
  forget_dead_engine
  step "starting the container engine (dockerd; its log is $ENGINE_LOG)"
  grep -qs live-restore /etc/docker/daemon.json || flags+=(--live-restore)
  # In a session of its own: Ctrl-C at the server must not end the engine.
  PATH=$PATH:/usr/sbin:/sbin setsid dockerd "${flags[@]}" >>"$ENGINE_LOG" 2>&1 </dev/null &
  local pid=$!
  printf '%s\n' "$pid" >"$ENGINE_PID"
  if ! wait_for_engine "$pid"; then
    tail -n 12 "$ENGINE_LOG" >&2
    die "The engine does not start; above is the end of $ENGINE_LOG."
  fi
  say "   it runs in the background; stop it with: make stop-engine"
}

ensure_engine() {
  local code=0
  find_engine || code=$?
  [ "$code" != 0 ] || return 0
  if ! is_root; then
    [ "$code" != 3 ] || die "A container engine runs here, but this user may not use it. As root, run:" \
      "    usermod -aG docker $(id -un)" "log in again, and try again."
    have dockerd && die "The container engine is installed but does not run. As root, run:" \
      "    systemctl start docker" "(without systemd: dockerd --live-restore), then try again."
    die "No container engine answers here. As root, run" \
      "    apt-get install --no-install-recommends docker.io iptables ca-certificates mmdebstrap debian-archive-keyring apparmor" \
      "    command -v docker || apt-get install --no-install-recommends docker-cli" \
      "    usermod -aG docker $(id -un)" \
      "and log in again; or run this command once as root, which does the same; or set DOCKER_HOST."
  fi
  if ! PATH=$PATH:/usr/sbin have dockerd; then
    install_engine
    # The package starts it by itself on many machines.
    systemd_runs && sleep 1
    find_engine && return 0
  fi
  start_engine
}

# Where neither the images nor what they start from are here, the server will make that from Debian's packages.
ensure_origin() {
  if { have mmdebstrap && [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]; } || ! is_root || ! have apt-get; then
    return 0
  fi
  if "$VENV/bin/python" -m coderunner images list 2>/dev/null | grep -q 'not built$' &&
    ! "$VENV/bin/python" scripts/ping_engine.py "$DOCKER_HOST" /images/debian:trixie-slim/json; then
    (apt_install "what makes the base image where no image registry can be reached" mmdebstrap debian-archive-keyring) || true
  fi
}

stop_engine() {
  local pid
  if [ ! -f "$ENGINE_PID" ] || ! pid=$(cat "$ENGINE_PID") || [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != dockerd ]; then
    die "No engine runs that 'make run' started. One of the system's is stopped with: systemctl stop docker"
  fi
  # With live-restore the sessions' containers would live on, without anyone who could stop them.
  docker --host "unix://$ENGINE_SOCKET" ps -aq --filter label=type=coderunner-session |
    xargs -r docker --host "unix://$ENGINE_SOCKET" rm -fv >/dev/null
  kill "$pid"
  local deadline=$((SECONDS + ENGINE_SECONDS))
  while kill -0 "$pid" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || die "The engine (process $pid) does not stop; see $ENGINE_LOG."
    sleep 0.2
  done
  rm -f "$ENGINE_PID"
  say "The engine is stopped."
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  case "${1:-}" in
    stop) stop_engine ;;
    *) die "usage: scripts/engine.sh stop" ;;
  esac
fi
