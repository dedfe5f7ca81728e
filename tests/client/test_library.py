"""The library's examples in `docs/clients.md`, as they stand there; a program and a server's death."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coderunner.client.library import Client
from coderunner.client.refused import Refused
from tests.harness import ROOT, Server, running_server
from tests.web.ordering import COUNT, again, numbers

SEEN = ["cba\n 0\nstdout b'hello Ada\\n'\n", "1\n2\n3\nended with 4\n2 passed\n"]
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/clients.md").read_text(), re.M | re.S)


@pytest.mark.long
@pytest.mark.parametrize(("example", "seen"), list(zip(EXAMPLES, SEEN, strict=True)))
def test_examples(server: Server, tmp_path: Path, example: str, seen: str):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "CODERUNNER": server.url}
    done = subprocess.run(
        [sys.executable, "-c", example],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.stdout, done.stderr) == (seen, "")


@pytest.mark.long
async def test_output_survives_the_servers_death(tmp_path: Path):
    with running_server(tmp_path, LANGUAGES="python") as server:
        async with Client(server.url) as client:
            program = client.start("python", COUNT.format(n=60, pause=0.05), entry="main.py")
            seen, later = b"", None
            async for output in program:
                seen += output.data
                if later is None and b"0000010" in seen:
                    server.process.kill()
                    server.process.wait()
                    later = again(server, tmp_path)
            assert seen.decode() == numbers(60)
            assert program.exit is not None
            assert (program.exit.reason, program.exit.code) == ("exited", 0)
        assert later is not None
        assert later.stop() == 0


async def test_refusals_say_why(server: Server):
    async with Client(server.url) as client:
        assert "python" in [one.name for one in await client.languages()]
        with pytest.raises(Refused, match="klingon"):
            await client.run("klingon", "x")
        with pytest.raises(Refused, match="klingon"):
            async for _ in client.start("klingon", "x", entry="a"):
                raise AssertionError
