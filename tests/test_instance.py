"""A server that lives shows it to all of the machine, and stops to the moment it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from coderunner.instance import owners_alive, shown
from tests.harness import ROOT, wait_until

NAME = f"sign-{os.getpid()}"
HOLD = (
    "import sys,time\nfrom coderunner.instance import shown\n"
    "with shown(sys.argv[1], 'theirs'):\n    print('there', flush=True)\n    time.sleep(60)\n"
)


def test_who_lives_is_seen_and_who_is_killed_is_not() -> None:
    assert owners_alive(NAME) == set()
    with shown(NAME, "mine"), shown(f"{NAME}-other", "x"):
        assert owners_alive(NAME) == {"mine"}
        command = [sys.executable, "-c", HOLD, NAME]
        with subprocess.Popen(command, cwd=ROOT / "server", stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"there\n"
                process.send_signal(signal.SIGSTOP)
                assert owners_alive(NAME) == {"mine", "theirs"}
            finally:
                process.kill()
        wait_until(lambda: owners_alive(NAME) == {"mine"}, 5, "the end of it")
    assert owners_alive(NAME) == set()


def test_where_the_kernel_does_not_tell_nobody_is_seen(tmp_path: Path) -> None:
    assert owners_alive(NAME, tmp_path / "none") == set()
