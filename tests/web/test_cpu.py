"""A program's CPU time includes all of its processes, however they end."""

from __future__ import annotations

import textwrap

import pytest

from tests.harness import session
from tests.share import some_now

TOOLS = """
import ctypes, os, signal, sys, threading, time

def burn(seconds):
    while time.process_time() < seconds: pass

def child(work):
    if not (pid := os.fork()):
        work()
        os._exit(0)
    return pid

def orphan(work):
    "Its parent is gone before it works."
    reading, writing = os.pipe()
    def wait():
        os.close(writing)
        os.read(reading, 1)
        work()
    os.waitpid(child(lambda: child(wait)), 0)
    os.close(writing), os.close(reading)

def until_alone(pid):
    "Wait for a child without reaping it."
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
"""

KINDS = {
    "children": "os.waitpid(child(lambda: burn(.2)), 0)",
    "orphans": (
        "r, w = os.pipe()\norphan(lambda: (os.close(r), burn(.2)))\nos.close(w); os.read(r, 1); os.close(r)"
    ),
    "grandchildren of orphans": (
        "r, w = os.pipe()\n"
        "orphan(lambda: (os.close(r), os.waitpid(child(lambda: burn(.2)), 0)))\n"
        "os.close(w); os.read(r, 1); os.close(r)"
    ),
    "children that nobody waits for": "until_alone(child(lambda: burn(.2)))",
    "children of a parent that ignores their end": (
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "r, w = os.pipe()\n"
        "child(lambda: (os.close(r), burn(.2)))\n"
        "os.close(w); os.read(r, 1); os.close(r)"
    ),
    "threads that have ended": (
        "t = threading.Thread(target=burn, args=(time.process_time() + .2,))\nt.start(); t.join()"
    ),
    "killed children": (
        "p = child(lambda: burn(60))\n"
        "while sum(map(int, open(f'/proc/{p}/stat').read().split()[13:15])) < 20: time.sleep(.01)\n"
        "os.kill(p, 9); os.waitpid(p, 0)"
    ),
}


def repeated(kind, times):
    return f"{TOOLS}\nfor _ in range({times}):\n" + textwrap.indent(KINDS[kind], "    ")


class TestUsage:
    @pytest.mark.parametrize("kind", KINDS)
    async def test_usage_is_what_was_used(self, server, kind):
        code = repeated(kind, 2)
        async with session(server) as client:
            used = (await client.result(1, code)).exit.usage.cpu_ms
            # What no process shows is only known to four ticks a process.
            least = 200 if "ignores" in kind else 380
            assert least <= used <= 800, used

    @pytest.mark.parametrize("kind", some_now(KINDS, "orphans", "threads that have ended"))
    async def test_the_limit_holds(self, server, kind):
        code = repeated(kind, 50)
        async with session(server) as client:
            end = (await client.result(1, code, limits={"cpu_ms": 500})).exit
            assert end.reason == "cpu_timeout"
            assert 400 <= end.usage.cpu_ms <= 2000, end.usage

    async def test_a_program_is_not_charged_for_its_neighbour_or_for_the_run_before(self, server):
        code = TOOLS + KINDS["orphans"] + "\nburn(.3)"
        async with session(server) as client:
            await client.result(1, code)
            await client.run(2, "input('ready')", mode="tty")
            await client.until(2, "ready")
            await client.result(3, code)
            await client.input(2, b"\n")
            assert (await client.ended(2)).exit.usage.cpu_ms < 250

    async def test_a_process_whose_first_thread_has_ended_is_ended_with_the_rest(self, server):
        code = TOOLS + (
            "r, w = os.pipe()\n"
            "def outlive():\n"
            "    threading.Thread(target=lambda: (os.write(w, b'x'), burn(60))).start()\n"
            "    ctypes.CDLL(None).syscall(60, 0)\n"
            "child(outlive)\n"
            "os.read(r, 1)\n"
        )
        async with session(server) as client:
            end = (await client.result(1, code, 15)).exit
            assert (end.reason, end.code, end.left_behind) == ("exited", 0, 1)
            assert end.usage.wall_ms < 5000

    async def test_a_program_that_kills_its_supervisor_is_counted(self, server):
        code = TOOLS + "os.waitpid(child(lambda: burn(.3)), 0)\nburn(.2)\nos.kill(os.getppid(), 9)\nburn(9)"
        async with session(server) as client:
            end = (await client.result(1, code, 15)).exit
            assert (end.reason, end.signal) == ("signaled", None)
            assert end.usage.cpu_ms >= 450, end.usage
