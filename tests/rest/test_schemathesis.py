"""What schemathesis makes of the OpenAPI document is answered as the document says, by a running server.

It is no dependency of the tests: with what it needs it is installed into an environment of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT, running_server, session

ENVIRONMENT = ROOT / ".run/schemathesis"
LOCK = ROOT / "requirements-schemathesis.lock"
HERE = Path(__file__).parent
EXAMPLES = 4  # of each operation in each phase, beside those that its document's bounds give


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
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        async with session(server, "bash") as client:
            process = await asyncio.create_subprocess_exec(
                command, "--config-file", HERE / "schemathesis.toml",
                "run", server.url + "api/openapi.json", "--max-examples", str(EXAMPLES),
                env={
                    "PATH": "/usr/bin:/bin", "HOME": str(tmp_path),
                    "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
                    "CODERUNNER_SESSION": client.opened.session, "CODERUNNER_TOKEN": client.opened.token,
                },
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                async with asyncio.timeout(300):
                    told = (await process.communicate())[0].decode()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    assert process.returncode == 0, told
    assert "Stateful" in told
    assert "API Links:    0 covered" not in told
