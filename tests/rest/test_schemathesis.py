"""What schemathesis makes of the OpenAPI document is answered as the document says, by a running server.

It is no dependency of the tests: with what it needs it is installed into an environment of its own.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT, running_server, session

ENVIRONMENT = ROOT / ".run/schemathesis"
LOCK = ROOT / "requirements-schemathesis.lock"
HERE = Path(__file__).parent
EXAMPLES = ["--max-examples", "4"]  # of each operation in each phase, beside those of its document's bounds
EACH = ["--phases", "examples,coverage,fuzzing", *EXAMPLES]
# Those that have links: among all operations, four scenarios may never come to one of them.
LINKED = ["--phases", "stateful", "--include-path-regex", "^/api/(run|batch)", *EXAMPLES]


@pytest.fixture
def command() -> Path:
    program, stamp = ENVIRONMENT / "bin/schemathesis", ENVIRONMENT / ".made"
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True, timeout=60)
        words = ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r", LOCK]
        subprocess.run([ENVIRONMENT / "bin/python", *words], check=True, timeout=200)
        stamp.write_text(LOCK.read_text())
    return program


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_server_answers_as_its_document_says(tmp_path: Path, command: Path):
    settings = {"LANGUAGES": "bash", "SESSIONS_PER_ADDRESS": "16", "MAX_CONCURRENT_SESSIONS": "16"}
    settings["ADMIN_KEY"] = secrets.token_hex(16)  # else this machine is the operator, and drains the server
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        async with session(server, "bash", keep=True) as client:  # others take its control
            keys = {"CODERUNNER_SESSION": client.opened.session, "CODERUNNER_TOKEN": client.opened.token}
            told = ""
            for words in (EACH, LINKED):
                code, said = await ran([command, *words], server.url, tmp_path, keys)
                assert code == 0, said
                told += said
    assert "Stateful" in told
    assert "API Links:" in told
    assert "API Links:    0 covered" not in told


async def ran(command: list[Path | str], url: str, home: Path, keys: dict[str, str]) -> tuple[int, str]:
    """schemathesis with these words: its exit code, and what it printed."""
    program, *words = command
    hooks = str(HERE / "hooks.py")
    process = await asyncio.create_subprocess_exec(
        program, "--config-file", HERE / "schemathesis.toml", "run", url + "api/openapi.json", *words,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "SCHEMATHESIS_HOOKS": hooks, **keys},
        cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(300):
            said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said
