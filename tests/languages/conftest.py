"""One server with every language that there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coderunner import declarations
from tests.harness import Server, running_server


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("languages")
    settings = {
        "LANGUAGES": "", "WARM_MAX": "4", "SESSIONS_PER_ADDRESS": "0", "LOG_LEVEL": "info", "CANARY": "on"
    }  # fmt: skip
    with running_server(folder, ready=tuple(declarations.load().languages), **settings) as one:
        yield one


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with the languages whose compilers are helped along: kept warm, or with prepared headers."""
    names = ("c", "cpp", "java", "typescript")
    settings = {"LANGUAGES": ",".join(names), "WARM_MAX": "4", "SESSIONS_PER_ADDRESS": "0"}
    with running_server(tmp_path_factory.mktemp("compiled"), ready=names, **settings) as one:
        yield one
