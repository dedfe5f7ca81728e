#!/usr/bin/env bash
# A wheel with the server, the page, the languages, nginx.conf and the units in it, and the client libraries for Python and
# JavaScript as packages of their own: `make package`.
# On a machine with Docker, `pipx install dist/coderunner-*.whl` and `coderunner serve` are all.
#
#     scripts/package.sh [--image [TAG]]    --image: the images coderunner/server:TAG and coderunner/front:TAG, too,
#                                           for deploy/container/compose.yaml; TAG is latest where none is given
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# = 0 ] || [ "$1" = --image ] || die "usage: scripts/package.sh [--image [TAG]]"
scripts/setup.sh
step "building the wheels"
rm -f dist/coderunner-*.whl dist/coderunner_client-*.whl
"$VENV/bin/python" -m pip wheel --quiet --no-deps --wheel-dir dist . ./clients/python ||
  die "pip could not build the wheels; above is why. It needs a package index in reach (for setuptools)."
step "building the JavaScript package"
find_node
scripts/setup.sh --dev # TypeScript, which makes its declarations
rm -f dist/coderunner-client-*.tgz
node scripts/package-client.mjs
ls dist/coderunner-*.whl dist/coderunner_client-*.whl dist/coderunner-client-*.tgz
[ $# != 0 ] || exit 0

have docker || die "Missing: docker, which builds the images."
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
step "fetching the packages of the image's Python"
# By this machine's pip, which knows its package index; the image has Debian 13's Python and no pip.
"$VENV/bin/python" -m pip install --quiet --target "$context/packages" --python-version 3.13 --only-binary=:all: \
  --no-deps --require-hashes -r requirements.lock &&
  "$VENV/bin/python" -m pip install --quiet --target "$context/packages" --no-deps --no-index --no-compile \
    dist/coderunner-*.whl || die "pip could not have the packages; above is why."
rm -rf "$context/packages/bin"
find "$context/packages" -name __pycache__ -prune -exec rm -rf {} +
cp deploy/container/Dockerfile deploy/container/start-* "$context/"
for target in server front; do
  step "building coderunner/$target:${2:-latest}"
  docker build --quiet --target "$target" --tag "coderunner/$target:${2:-latest}" "$context" >/dev/null ||
    die "Docker could not build the image; above is why. debian:trixie-slim must be there, or a registry in reach" \
      "(coderunner images build makes it from Debian's packages)."
done
docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep -E "^coderunner/(server|front):${2:-latest} "
