"""What several benchmarks read of a server."""

from __future__ import annotations

from pathlib import Path

from tests.harness import Server


def processor(server: Server) -> float:
    """Milliseconds that the server's loop has used."""
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e6
