"""What all tests share: one real server for those that do not need one of their own."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.harness import LANGUAGES, Server, running_server

# A shell ignores Ctrl-C in what it starts in the background, and nohup a hang-up; so would all that the tests
# start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says something of the machine; a test's own time is bounded (pytest-timeout).
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed or logged may be no Unicode; between pytest's processes (xdist) it has to be."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """With `--dist loadscope` one process has whole files; tests/nginx is as one, for its servers and because
    a silence of ninety seconds passes beside its other tests."""
    return Files(config, log) if config.getoption("dist") == "loadscope" else None


class Files(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return "tests/nginx" if nodeid.startswith("tests/nginx/") else nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A development server with the languages of the plain run ready."""
    with running_server(tmp_path_factory.mktemp("server"), ready=LANGUAGES, WARM_MAX="8") as one:
        yield one
