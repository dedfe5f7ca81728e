"""A server to attack, an innocent user of it, and the table of what came of each attack."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from coderunner import config, declarations, lending
from coderunner.attack import run
from coderunner.attack.bystander import Bystander
from coderunner.attack.means import Means
from tests.harness import Server, running_server
from tests.reference import BareTerminal

RESULTS: pytest.StashKey[list[run.Result]] = pytest.StashKey()


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Few slots, so that a case can fill them; the limits of the sessions are a deployment's. It takes
    callers without a credential, and those of the other ways, too."""
    folder = tmp_path_factory.mktemp("attack")
    public = folder / "issuer.pem"
    key = rsa.generate_private_key(65537, 2048).public_key()
    public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    quotas = folder / "quotas.toml"
    quotas.write_text("[user]\nruns_per_minute = 12\nsessions = 3\n[teacher]\n[operator]\n")
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
        ADMIN_KEY=secrets.token_hex(32),
        JWT_SECRET=secrets.token_hex(32),
        JWT_PUBLIC_KEY=str(public),
        JWT_ISSUER="https://school.example",
        JWT_AUDIENCE="coderunner",
        QUOTAS_FILE=str(quotas),
        LOG_LEVEL="info",
    ) as one:
        yield one


@pytest.fixture(scope="session")
def means(target: Server) -> Iterator[Means]:
    """Keys of several roles, made as `coderunner attack --make-keys` makes them."""
    settings = config.load(target.environment, None, languages=declarations.names())
    with lending.lent(settings) as one:
        asyncio.run(run.known(target.url, one))
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
