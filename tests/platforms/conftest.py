from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.harness import Server, running_server

# Its tests are of one platform alone.
collect_ignore = [] if os.environ.get("DOCKER_RUNTIME", "").startswith("runsc") else ["test_gvisor.py"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("platform")
    with running_server(folder, LANGUAGES="python", CANARY="on", WARM_MAX="2") as one:
        assert "container limits verified" in one.log.read_text()
        yield one
