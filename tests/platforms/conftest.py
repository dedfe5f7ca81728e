from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("platform")
    with running_server(folder, LANGUAGES="python", CANARY="on", WARM_MAX="2") as one:
        assert "container limits verified" in one.log.read_text()
        yield one
