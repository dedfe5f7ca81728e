"""What all tests share: one real server for those that do not need one of their own."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator

import pytest

from tests.harness import LANGUAGES, Server, running_server

# A shell ignores Ctrl-C in what it starts in the background, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed or logged may be no Unicode; between pytest's processes (xdist) it has to be."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A development server with the languages of the plain run ready."""
    with running_server(tmp_path_factory.mktemp("server"), ready=LANGUAGES, WARM_MAX="8") as one:
        yield one
