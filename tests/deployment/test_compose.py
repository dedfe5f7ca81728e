"""The images of the server and of nginx, as deploy/container/compose.yaml runs them.

A production start with the canary, a program through TLS, a restart, and what an attacker in the server gets.
"""

from __future__ import annotations

import json
import secrets
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coderunner.schema import messages as m
from tests.harness import ENGINE, ROOT, attach, docker, session, wait_until
from tests.nginx.front import free_port, make_certificate

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TOOL = "coderunner-test/compose:trixie"
TOOL_FILE = """FROM debian:trixie-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-compose > /dev/null
"""
READY_SECONDS, CALL_SECONDS = 60, 300
COUNT = "import time\nfor i in range(400):\n    print('%07d' % i, flush=True)\n    time.sleep(0.005)"
# As a server that was taken over would ask.
ASK = """import json, socket
host = {"Privileged": True, "Binds": ["/:/host"]}
body = json.dumps({"Image": "debian:trixie-slim", "HostConfig": host}).encode()
s = socket.socket(socket.AF_UNIX)
s.connect("/run/coderunner-engine/docker.sock")
head = "POST /v1.41/containers/create HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
s.sendall(head.encode() + body)
print(s.recv(4096).split()[1].decode())
"""


def call(*words: str, cwd: Path = ROOT, given: str | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, input=given, capture_output=True, text=True, timeout=CALL_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass
class Composed:
    """A running project in `folder`. `url` ends with a slash."""

    folder: Path
    name: str
    url: str
    instance: str

    def compose(self, *words: str) -> str:
        place = str(self.folder)
        socket = ENGINE.removeprefix("unix://")
        mounts = ("-v", f"{socket}:/var/run/docker.sock", "-v", f"{place}:{place}", "-w", place)
        return docker("run", "--rm", *mounts, TOOL, "docker-compose", "-p", self.name, *words)

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "tls/fullchain.pem"))

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10, context=self.tls()) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def inside(self, service: str, *words: str) -> str:
        return docker("exec", f"{self.name}-{service}-1", *words)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    folder, tag = tmp_path_factory.mktemp("compose"), f"test-{secrets.token_hex(4)}"
    call("scripts/package.sh", "--image", tag)
    if not docker("images", "-q", TOOL):
        call("docker", "build", "--quiet", "--tag", TOOL, "-", given=TOOL_FILE)
    shutil.copy(ROOT / "deploy/container/compose.yaml", folder)
    (folder / "tls").mkdir()
    (folder / "acme").mkdir()
    certificate, key = make_certificate(folder / "tls")
    certificate.rename(folder / "tls/fullchain.pem")
    key.rename(folder / "tls/privkey.pem")
    port, instance = free_port(), tag
    settings = {
        "ADMIN_KEY": secrets.token_hex(32), "ANONYMOUS": "yes", "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "LANGUAGES": "python", "INSTANCE_NAME": instance, "MAX_CONCURRENT_SESSIONS": "4", "WARM_MAX": "1",
    }  # fmt: skip
    files = ("files", ".env.production.example")
    example = docker("run", "--rm", f"coderunner/server:{tag}", *files).splitlines()
    lines = [line for line in example if line.partition("=")[0] not in settings]
    lines += [f"{name}={value}" for name, value in settings.items()]
    lines += [f"CODERUNNER_IMAGE={tag}", f"HTTP_AT=127.0.0.1:{free_port()}", f"HTTPS_AT=127.0.0.1:{port}"]
    (folder / ".env").write_text("\n".join(lines) + "\n")
    one = Composed(folder, tag, f"https://127.0.0.1:{port}/", instance)
    try:
        one.compose("up", "-d")
        wait_until(lambda: one.get("api/ready")[0] == 200, READY_SECONDS, "a server that is ready")
        yield one
    finally:
        print(one.compose("logs", "--no-color"))
        left = ("ps", "-aq", "--filter", f"label=coderunner.instance={instance}")
        try:
            one.compose("stop", "server")
            one.compose("run", "--rm", "server", "reap", "--all")
            assert docker(*left) == ""
        finally:
            one.compose("down", "-v", "--timeout", "5")
            for container in docker(*left).split():
                docker("rm", "-fv", container)
        for name in ("server", "front"):
            docker("rmi", f"coderunner/{name}:{tag}")


async def test_a_program_runs_and_a_restart_costs_no_byte(composed: Composed) -> None:
    assert "container limits verified" in composed.compose("logs", "server")
    status, page = composed.get("")
    assert status == 200
    assert "static/dist/page" in page
    async with session(composed.url, keep=True, ssl=composed.tls()) as client:
        await client.run(1, COUNT)
        await client.until(1, "0000050")
        ready = json.loads(composed.get("api/ready")[1])
        assert (ready["agent_stream"], ready["warnings"]) == ("attach", [])
        composed.compose("restart", "server")
        await client.closed()
        opened = client.opened
        assert opened is not None
    wait_until(lambda: composed.get("api/ready")[0] == 200, READY_SECONDS, "the next server")
    async with attach(
        composed.url, opened, client=client.client, channels=client.channels, ssl=composed.tls()
    ) as back:
        await back.message(m.Attached)
        channel = await back.ended(1)
        assert bytes(channel.data) == b"".join(b"%07d\n" % i for i in range(400))
        await back.send(m.Close())
        await back.closed()


def test_who_takes_the_server_over_gets_neither_the_machine_nor_the_network(composed: Composed) -> None:
    assert composed.inside("server", "python3", "-c", ASK).strip() == "403"
    assert composed.inside("server", "ls", "/sys/class/net").split() == ["lo"]
    assert composed.inside("engine-proxy", "ls", "/sys/class/net").split() == ["lo"]
    for service in ("server", "engine-proxy"):
        name = f"{composed.name}-{service}-1"
        mounts = json.loads(docker("inspect", "-f", "{{json .Mounts}}", name))
        has = any(one["Destination"] == "/var/run/docker.sock" for one in mounts)
        assert has == (service == "engine-proxy")
        status = composed.inside(service, "sh", "-c", "cat /proc/self/status; touch /x 2>&1 || true")
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert "Read-only file system" in status
    assert composed.inside("server", "id", "-u").strip() == "10001"


def test_wrong_settings_are_said_and_not_tried_again(composed: Composed) -> None:
    image = f"coderunner/server:{composed.name}"
    name = f"{composed.name}-wrong"
    docker("run", "-d", "--name", name, "--restart", "unless-stopped", "-e", "APP_ENV=production", image)
    try:
        wait_until(lambda: "Not started again" in said(name), 30, "the refusal")
        assert "ADMIN_KEY" in said(name)
        assert docker("inspect", "-f", "{{.State.Running}} {{.RestartCount}}", name).strip() == "true 0"
        docker("stop", "-t", "5", name)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", name).strip() == "0"
    finally:
        docker("rm", "-fv", name)


def said(name: str) -> str:
    done = subprocess.run(("docker", "logs", name), capture_output=True, text=True, timeout=30, check=True)
    return done.stdout + done.stderr
