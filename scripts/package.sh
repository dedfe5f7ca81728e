#!/usr/bin/env bash
# A wheel with the server, the page, the languages, nginx.conf and the units in it: `make package`.
# On a machine with Docker, `pipx install dist/coderunner-*.whl` and `coderunner serve` are all.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/setup.sh
step "building the wheel"
rm -f dist/coderunner-*.whl
"$VENV/bin/python" -m pip wheel --quiet --no-deps --wheel-dir dist . ||
  die "pip could not build the wheel; above is why. It needs a package index in reach (for setuptools)."
ls dist/coderunner-*.whl
