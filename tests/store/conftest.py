"""A real PostgreSQL of the tests' own, in a temporary folder."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import wait_until


@dataclass
class Postgres:
    """A cluster. ``url``: of its database `postgres`, over a socket in its folder."""

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://coderunner@/postgres?host={self.folder}"

    def command(self, *words: str) -> list[str]:
        """A command as a user without rights: PostgreSQL does not run as root."""
        whole = [str(self.programs / words[0]), *words[1:]]
        if os.geteuid() != 0:
            return whole
        user = pwd.getpwnam("postgres")
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *whole]

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command("postgres", "-D", str(self.folder / "data"), "-k", str(self.folder), "-h", "", "-F"),
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"), cwd=self.folder,
        )  # fmt: skip
        ready = self.command("pg_isready", "-q", "-h", str(self.folder), "-U", "coderunner", "-d", "postgres")
        wait_until(
            lambda: subprocess.run(ready).returncode == 0, 30, "PostgreSQL", (self.folder / "log").read_text
        )

    def stop(self) -> None:
        """At once; it recovers at the next start."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None

    def sql(self, text: str) -> str:
        done = subprocess.run(
            self.command("psql", "-h", str(self.folder), "-U", "coderunner", "-d", "postgres", "-Atqc", text),
            capture_output=True, text=True, check=True, timeout=30, cwd=self.folder,
        )  # fmt: skip
        return done.stdout.strip()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    programs = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has 107 bytes
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    one = Postgres(folder, programs)
    made = one.command("initdb", "-D", str(folder / "data"), "-U", "coderunner", "-A", "trust", "-N")
    subprocess.run(made, check=True, capture_output=True, timeout=60, cwd=folder)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder)
