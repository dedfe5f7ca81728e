"""An agent that nobody can reach does nothing, and does not use the machine up with it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from pathlib import Path

from coderunner.engine.containers import AGENT_COMMAND
from tests.harness import docker, wait_until


def test_an_end_of_its_input_costs_no_processor(server):
    image = re.findall(r"image=(coderunner/python:\w+)", server.log.read_text())[-1]
    name = f"coderunner-test-{secrets.token_hex(4)}"
    # The command closes its standard input behind itself, as an engine does that goes away beneath the agent.
    command = ["docker", "run", "-i", "--name", name, "--network", "none", image, *AGENT_COMMAND]
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: docker("ps", "-q", "--filter", f"name={name}"), 20, "the container")
        pid = docker("inspect", "-f", "{{.State.Pid}}", name).strip()
        time.sleep(2.5)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        assert used < 1.0  # its own start included; spinning took all of it
    finally:
        docker("rm", "-fv", name)
        running.wait(20)
