"""Forked from a preload or executed: a program is the same, to itself and to who looks at it."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coderunner import declarations
from coderunner.schema import messages as m
from tests.harness import FORKED, Client, Server, eventually, preloaded, running_server, session
from tests.harness import LANGUAGES as PLAIN_RUN
from tests.languages.probes import PROBES, Probe

MODULES = """
try:
    import numpy, pandas
except ImportError:  # a language without them
    import random, types
    same = types.SimpleNamespace(random=random.random, seed=random.seed, default_rng=random.Random)
    numpy = types.SimpleNamespace(random=same)
    pandas = types.SimpleNamespace(DataFrame=types.SimpleNamespace())
"""
PLAIN = {"PYTHONPLAIN": "1"}  # one of the names that a preload cannot know: such a run is executed
ADDRESS = re.compile(rb"0x[0-9a-f]{6,}")
SECONDS = 900  # an image may have to be built

pytestmark = pytest.mark.timeout(SECONDS)
_numbers = itertools.count(1)


def languages() -> Iterator[Any]:
    """Those with a preload; what the plain run has no image of is a long one."""
    for name, language in declarations.load().languages.items():
        if language.preload is not None:
            yield pytest.param(name, marks=[] if name in PLAIN_RUN else [pytest.mark.long])


@pytest.fixture(scope="module", params=languages())
def preloading(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp("preload")
    with running_server(folder, ready=(request.param,), LANGUAGES=request.param) as one:
        yield one, request.param


@dataclass
class Seen:
    stdout: bytes
    stderr: bytes
    code: int | None
    signal: str | None
    reason: str


class Runner:
    def __init__(self, client: Client) -> None:
        self.client = client

    async def run(self, probe: Probe, mode: str, env: dict[str, str]) -> Seen:
        number, client = next(_numbers) % 60_000, self.client
        await client.send(
            m.Run(number, mode, probe.all_files(), probe.entry(), probe.args, env, cols=300, rows=40)
        )
        sent = 0
        for wait, text in probe.send:
            if mode == "tty":
                await client.until(number, wait)
            data = b"" if mode == "pipe" and text == "\4" else text.encode()
            await client.input(number, data)
            sent += len(data)
        if mode == "pipe":
            await client.send(m.Eof(number, sent))
        channel = await client.ended(number, 60)
        return seen(channel)

    async def text(self, code: str, env: dict[str, str] | None = None) -> str:
        one = await self.run(Probe("", {"main.py": code}), "pipe", env or {})
        assert one.code == 0, one
        return one.stdout.decode()


def seen(channel: Any) -> Seen:
    end = channel.exit
    out, err = (ADDRESS.sub(b"0x", bytes(data)) for data in (channel.stdout, channel.stderr))
    return Seen(out, err, end.code, end.signal, end.reason)


@pytest.fixture
async def runner(preloading: tuple[Server, str]) -> AsyncIterator[Runner]:
    server, language = preloading
    async with session(server, language) as client:
        await preloaded(client)
        yield Runner(client)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name.replace(" ", "-"))
async def test_a_program_cannot_tell(runner: Runner, probe: Probe) -> None:
    for mode in probe.modes:
        plain = await runner.run(probe, mode, PLAIN)
        preloaded = await runner.run(probe, mode, {})
        assert preloaded.stdout.decode(errors="replace") == plain.stdout.decode(errors="replace"), mode
        assert preloaded.stderr.decode(errors="replace") == plain.stderr.decode(errors="replace"), mode
        assert preloaded == plain, mode


async def test_it_is_forked_from_what_is_imported(runner: Runner) -> None:
    assert (await runner.text(FORKED, PLAIN)) == "False\n"
    assert (await runner.text(FORKED)) == "True\n"


async def test_so_is_the_first_program_of_a_session_whose_user_waited(tmp_path: Path) -> None:
    """Where the preload is there before the agent: in a language without one it begins two seconds later."""
    with running_server(tmp_path, LANGUAGES="python", WARM_MAX="0") as server:
        async with session(server) as client:
            await client.run(1, FORKED)
            assert (await client.ended(1)).text == "True\n"


async def test_the_kernel_takes_it_before_the_agent_from_its_first_line_on(runner: Runner) -> None:
    code = "print(open('/proc/self/oom_score_adj').read(), end='')\n" + FORKED
    forked = 0
    for _ in range(100):
        score, how = (await runner.text(code)).split()
        forked += how == "True"  # one that was executed, as the preload was busy, may be before its mark
        assert score == "500" or how == "False"
        if forked == 5:
            break
    assert forked == 5


async def test_nothing_of_a_run_is_in_the_next(runner: Runner) -> None:
    spoil = (
        MODULES
        + """
import builtins, os, sys, random, warnings, signal, threading, atexit, math
builtins.print_ = print; math.pi = 3; numpy.mine = 1; pandas.DataFrame.mine = 2
os.environ["MINE"] = "3"; os.chdir("/"); sys.path.append("/mine"); random.seed(1); numpy.random.seed(1)
warnings.simplefilter("error"); signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.setrecursionlimit(99)
os.umask(0); os.nice(3)
"""
    )
    look = (
        MODULES
        + """
import builtins, os, sys, math, signal, random, warnings
print(hasattr(builtins, "print_"), math.pi == 3, hasattr(numpy, "mine"), hasattr(pandas.DataFrame, "mine"))
print("MINE" in os.environ, os.getcwd(), "/mine" in sys.path, warnings.filters[0][0] == "error")
print(signal.getsignal(signal.SIGTERM), sys.getrecursionlimit(), os.umask(0), os.nice(0))
"""
    )
    before = await runner.text(look)
    await runner.text(spoil)
    assert await runner.text(look) == before
    assert before.splitlines()[0] == "False False False False"


async def test_no_two_runs_draw_the_same(runner: Runner) -> None:
    code = (
        MODULES
        + """
import random, secrets, tempfile, uuid, os
print(random.random(), numpy.random.random(), numpy.random.default_rng().random(), secrets.token_hex(4),
      uuid.uuid4(), random.SystemRandom().random(), tempfile.mktemp(), os.urandom(3).hex())
"""
    )
    draws = [(await runner.text(code)).split() for _ in range(3)]
    assert all(len({*three}) == 3 for three in zip(*draws, strict=True)), draws


async def test_input_from_a_file(runner: Runner) -> None:
    await runner.run(Probe("", {"main.py": "", "words.txt": "one\ntwo\n"}), "pipe", {})
    # On a busy machine the next one may be asked for before the preload can fork again.
    await eventually(lambda: is_back(runner), 30, "forked again")
    number = next(_numbers)
    code = "import os, sys\nprint(sys.stdin.read().split(), os.path.realpath('/proc/self/fd/0'))\n" + FORKED
    await runner.client.run(number, code, stdin="words.txt")
    channel = await runner.client.ended(number)
    assert channel.text == "['one', 'two'] /workspace/words.txt\nTrue\n"


HOST = """
import os, signal, sys
def host():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with open(f"/proc/{pid}/cmdline") as file, open(f"/proc/{pid}/stat") as stat:
            if "/preload/host" in file.read() and stat.read().split()[3] == "1":
                return int(pid)
"""


async def test_without_it_programs_start_all_the_same_and_it_comes_back(runner: Runner) -> None:
    for number in ("SIGKILL", "SIGSTOP"):  # it is gone; it is there and answers nothing
        await runner.text(HOST + f"os.kill(host(), signal.{number})", PLAIN)
        text = await runner.text(FORKED)
        assert text in ("False\n", "True\n")  # it may have come back between
        await eventually(lambda: is_back(runner), 30, "forked again")


POISON = (
    HOST
    + """\
import shutil, site
os.makedirs(site.getusersitepackages())
with open(os.path.join(site.getusersitepackages(), "all.pth"), "w") as file:
    file.write("import os, shutil, builtins; os.WEXITSTATUS = lambda s: 0; os.WIFSIGNALED = lambda s: False;"
               "builtins.POISON = True; shutil.rmtree('/workspace/.local', True)\\n")
os.kill(host(), signal.SIGKILL)
"""
)


async def test_nothing_of_the_workspace_is_in_one_that_comes_back(runner: Runner) -> None:
    """A user's packages were, and told how later programs ended."""
    await runner.text(POISON, PLAIN)
    # Removes them where the preload that came back has not.
    await runner.text("import shutil; shutil.rmtree('/workspace/.local', True)", PLAIN)
    await eventually(lambda: is_back(runner), 30, "forked again")
    assert (await runner.text("import builtins; print(hasattr(builtins, 'POISON'))")) == "False\n"
    failed = await runner.run(Probe("", {"main.py": "1/0"}), "pipe", {})
    assert (failed.reason, failed.code) == ("exited", 1)


async def is_back(runner: Runner) -> bool:
    return (await runner.text(FORKED)) == "True\n"


async def test_its_memory_is_hidden_from_programs(runner: Runner) -> None:
    code = (
        HOST
        + """
import json, socket
pid = host()
try:
    os.kill(pid, 0)
    open(f"/proc/{pid}/mem", "rb").close()
    print("open")
except PermissionError:
    print("hidden")
"""
    )
    assert (await runner.text(code, PLAIN)) == "hidden\n"


async def test_many_at_once(runner: Runner) -> None:
    client = runner.client
    numbers = [next(_numbers) for _ in range(6)]
    code = "import sys, time\ntime.sleep(.2)\nprint(sum(range(int(sys.argv[1]))))"
    for number in numbers:
        await client.run(number, code, args=(str(number),))
    for number in numbers:
        channel = await client.ended(number)
        assert channel.text == f"{number * (number - 1) // 2}\n"


async def test_a_whole_tree_is_ended(runner: Runner) -> None:
    number = next(_numbers)
    code = """
import os, time
if os.fork() and os.fork(): print("up", flush=True)
if os.getpid() != os.getpgrp(): os.setsid()
time.sleep(100)
"""
    await runner.client.run(number, code)
    await runner.client.until(number, "up")
    await runner.client.send(m.Kill(number))
    channel = await runner.client.ended(number)
    assert channel.exit.reason == "killed"
    lines = "[open(f'/proc/{pid}/cmdline').read() for pid in os.listdir('/proc') if pid.isdigit()]"
    left = f"import os\nprint(sum('main.py' in line for line in {lines}))"
    assert (await runner.text(left)) == "1\n"


async def test_memory_that_runs_out_is_the_programs(runner: Runner) -> None:
    number = next(_numbers)
    await runner.client.run(number, "x = []\nwhile True: x.append(bytearray(1 << 20))")
    channel = await runner.client.ended(number, 60)
    assert (channel.exit.reason, channel.exit.signal) == ("oom", "KILL")
    assert (await runner.text(FORKED)) == "True\n"
