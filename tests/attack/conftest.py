"""A server to attack, an innocent user of it, and the table of what came of each attack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coderunner.attack import run
from coderunner.attack.bystander import Bystander
from tests.harness import Server, running_server
from tests.reference import BareTerminal

RESULTS: pytest.StashKey[list[run.Result]] = pytest.StashKey()


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Few slots, so that a case can fill them; the limits of the sessions are a deployment's."""
    folder = tmp_path_factory.mktemp("attack")
    with running_server(
        folder,
        ready=("python", "c", "bash"),
        LANGUAGES="python,c,bash",
        MAX_CONCURRENT_SESSIONS="12",
        SESSIONS_PER_ADDRESS="0",
        WARM_MAX="8",
        VIEW_TTL="4000",
        FACADES="piston,judge0,jobe",
        MCP="on",
        LOG_LEVEL="info",
    ) as one:
        yield one


@pytest.fixture(scope="session")
def bystander(target: Server) -> Iterator[Bystander]:
    with Bystander(target.url) as one:
        yield one


@pytest.fixture(scope="session")
def bare() -> Iterator[BareTerminal]:
    with BareTerminal() as one:
        yield one


@pytest.fixture
def results(request: pytest.FixtureRequest) -> list[run.Result]:
    """Of all cases so far; printed at the end."""
    return request.config.stash.setdefault(RESULTS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash.get(RESULTS, [])
    if results:
        terminalreporter.section("attacks")
        for line in (run.heading(), *map(run.row, results), *run.summary(results)):
            terminalreporter.write_line(line)
