#!/usr/bin/env bash
# Updates the lock files to the newest versions that pyproject.toml allows, each with its hashes. The address of the
# package index is left out, as it depends on the machine.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

compile() {
  "$VENV/bin/python" -m piptools compile --quiet --no-config --resolver=backtracking --upgrade \
    --generate-hashes --strip-extras --allow-unsafe --annotation-style=line \
    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header "$@"
}

"$VENV/bin/python" -c 'import piptools' 2>/dev/null || "$VENV/bin/python" -m pip install --quiet pip-tools
compile --output-file requirements.lock pyproject.toml
compile --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
compile --extra bench --constraint requirements-dev.lock --output-file requirements-bench.lock pyproject.toml
compile --output-file requirements-node.lock scripts/requirements-node.in
compile --output-file requirements-audit.lock scripts/requirements-audit.in
compile --output-file requirements-schemathesis.lock scripts/requirements-schemathesis.in
compile --output-file requirements-facades.lock scripts/requirements-facades.in
say "written: requirements.lock, requirements-dev.lock, requirements-bench.lock, requirements-node.lock, requirements-audit.lock, requirements-schemathesis.lock, requirements-facades.lock"
