"""The agent's loop as a process of its own, outside of a container."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from coderunner.agent.link import Link
from coderunner.wire import frames
from tests.agent.outside import Server

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def greet(fifo: Path, generation: int) -> None:
    """As a server does that attaches: it opens, writes and goes."""
    with fifo.open("wb") as stdin:
        greeting = json.dumps({"seed": 7, "have": {}}).encode()
        stdin.write(frames.encode(frames.ATTACH, generation, greeting))


def hear(process: subprocess.Popen) -> list[frames.Frame]:
    return frames.Decoder(7).feed(os.read(process.stdout.fileno(), 65536))


@pytest.mark.timed
def test_an_input_without_a_writer_costs_no_time_and_is_heard_again(agent):
    process, fifo = agent
    greet(fifo, 1)
    assert hear(process)[0].kind == frames.HELLO
    # Nobody has the other end open now: the agent reads an end of file.
    before = cpu_seconds(process.pid)
    time.sleep(1)
    assert cpu_seconds(process.pid) - before < 0.2
    greet(fifo, 2)
    assert hear(process)[0].generation == 2


def test_a_number_is_used_once_whatever_is_forgotten(agent, tmp_path):
    server = Server(*agent, tmp_path)
    number = -1
    while True:
        number += 1
        has = server.run(number, "true")["channels"]
        if has[0]:
            break
        assert has == list(range(number + 1))
        state = server.ended(number)
        assert state["evidence"]["main"]["code"] == 0
        server.acknowledge(number, state["end"])
    assert has == list(range(1, number + 1))
    refused = server.run(0, "true")
    assert refused["error"]["code"] == "channel_used"
    assert refused["channels"] == has  # also of an error, the whole truth
    assert server.run(number, "true")["existed"]


def test_a_languages_script_tells_that_there_was_no_room(agent, tmp_path):
    """A database gives back what a failed statement had taken, before anybody can see that it was full."""
    server = Server(*agent, tmp_path)
    server.run(1, "sh", "-c", ": >/tmp/.disk-full.$$")
    assert server.ended(1)["evidence"]["disk_full"] is True
    server.run(2, "sh", "-c", "ls /tmp/.disk-full.*")  # gone, and told of that program alone
    second = server.ended(2)["evidence"]
    assert (second["main"]["code"], second["disk_full"]) == (2, False)


def test_time_in_which_it_stood_still_is_no_silence_of_the_server(monkeypatch):
    now = 100.0
    monkeypatch.setattr("coderunner.agent.link.time", SimpleNamespace(monotonic=lambda: now))
    gone = []
    link = Link(dict, lambda: gone.append(True))
    link.attached = True
    now += 7
    link.on_delay(6.5)
    link.tick(now)
    assert link.attached
    now += 7
    link.tick(now)
    assert gone == [True]


def test_the_next_server_is_looked_for_often_at_first_and_seldom_later(monkeypatch):
    monkeypatch.setattr("coderunner.agent.link.connect", lambda _folder: None)
    link = Link(dict, lambda: None, "nowhere")
    tried = [began := time.monotonic()]
    while tried[-1] < began + 4:
        tried.append(link.tick(tried[-1])[0])
    pauses = [(moment - began, later - moment) for moment, later in itertools.pairwise(tried)]
    assert pauses[0][1] < 0.03
    # A restart is over in less than a second: each pause is a part of what a user waits.
    assert all(0.01 < pause < 0.1 for moment, pause in pauses if moment < 1.9)
    # While there is none for long, agents take little of the processor.
    assert all(0.1 < pause < 0.3 for moment, pause in pauses if moment > 2.1)


def test_a_shell_says_whether_something_runs_in_it(agent, tmp_path):
    server = Server(*agent, tmp_path)
    folder = str(tmp_path)
    spec = {
        "mode": "tty", "kind": "shell", "cols": 80, "rows": 24, "workspace": folder, "build": folder,
        "entry": "", "args": [], "sources": [], "compile": [], "run": ["sh", "-i"], "env": {"TMPDIR": folder},
        "limits": {"wall_ms": 60_000, "cpu_ms": 60_000, "output_bytes": 1 << 20, "cpus": 1,
                       "memory_bytes": 1 << 40},
    }  # fmt: skip
    assert server.call("run", channel=1, spec=spec, controlled=True)["state"]["occupied"]

    def told(occupied: bool) -> None:
        def fits(frame: frames.Frame) -> bool:
            return frame.kind == frames.STATE and json.loads(frame.payload)["occupied"] is occupied

        server.say(frames.BEAT)  # or it takes us for gone
        server.hear(fits)

    typed = 0
    told(False)  # at its prompt
    for line in (b"sleep 2.5\n", b"(setsid sleep 2.5 &)\n"):
        server.say(frames.INPUT, line, channel=1, offset=typed)
        typed += len(line)
        told(True)
        told(False)
