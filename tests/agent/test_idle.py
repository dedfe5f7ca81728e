"""An agent that nobody can reach does nothing, and does not use the machine up with it."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from coderunner.engine.containers import AGENT_COMMAND
from tests.harness import docker, wait_until


def test_an_end_of_its_input_costs_no_processor(server):
    image = re.findall(r"image=(coderunner/python:\w+)", server.log.read_text())[-1]
    # Without -i its standard input is at its end at once, as when the engine beneath it is gone.
    name = docker("run", "-d", "--network", "none", "--label", "type=coderunner-test", image, *AGENT_COMMAND)
    try:
        pid = docker("inspect", "-f", "{{.State.Pid}}", name.strip()).strip()
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 2.5, 5, "a while")
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        assert used < 1.0  # its own start included; spinning took all of it
    finally:
        docker("rm", "-f", name.strip())
