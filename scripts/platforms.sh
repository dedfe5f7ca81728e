#!/usr/bin/env bash
# The main path on other engines and Pythons than this machine's: `make test-platforms`, or
# scripts/platforms.sh [--write] [--main] [--again] [--prepare] [NAME...]. Platforms that are not available here are shown
# as NOT RUN. Three run beside each other.
#     scripts/platforms.sh --prepare            makes what they need (Debian's newest packages, Ubuntu's and Python's, the kernel of
#                                               the virtual machines), and runs nothing
#     scripts/platforms.sh --again              what fails is tried once more, as .ci/run has it
#     scripts/platforms.sh --main newest        the short form: Debian's newest engine with the main path alone
#     scripts/platforms.sh machine guide        the virtual machines with systemd and cgroup v2: for the main path, and to
#                                               follow docs/deployment.md
set -euo pipefail
. "$(dirname "$0")/engine.sh"

scripts/setup.sh --dev
ensure_engine
ensure_origin
if is_root && have apt-get; then
  have mmdebstrap || apt_install "what makes the file systems of other platforms" mmdebstrap
  have docker || apt_install "the engine's command" docker-cli
  { have slirp4netns && have ssh && PATH=$PATH:/usr/sbin have mkfs.ext4; } ||
    apt_install "the network and the disk of virtual machines" slirp4netns openssh-client e2fsprogs
fi
export PATH=$PATH:/usr/sbin
exec "$VENV/bin/python" -m tests.platforms "$@"
