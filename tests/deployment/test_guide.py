"""docs/deployment.md as an operator follows it: every command, with systemd, nginx and an engine.

What differs from the page stands in INSTEAD and ADDED.  Between the sections the test does what an operator's
users, slips and machines do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coderunner.engine import origin
from coderunner.schema import messages as m
from tests.deployment import machine as machines
from tests.deployment.guide import Piece, inline, pieces, prints_so
from tests.deployment.machine import NAME, Machine
from tests.harness import ROOT, SLOWNESS, Client, connect, session
from tests.images.conftest import server_builder

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200 * max(1, SLOWNESS / 2))]

GUIDE = ROOT / "docs/deployment.md"
KIT = ROOT / "docs/air-gapped.md"
LANGUAGES = ("bash", "python")
ORIGIN = "/srv/coderunner"  # where the machine clones from
ACME = 14000
INSTEAD = {"<the address of this repository>": f"file://{ORIGIN}"}
IN_A_CONTAINER = {
    # Of these the kernel shows only the first in a container's network.
    "cat /proc/sys/kernel/pty/max /proc/sys/net/ipv4/tcp_mem /proc/sys/net/ipv4/udp_mem":
        "cat /proc/sys/kernel/pty/max",
}  # fmt: skip
SOON = Path("/run/systemd/system/coderunner-reap.timer.d/soon.conf")
STARTED = 'journalctl -u coderunner -o cat | grep \'"msg":"CodeRunner\' | tail -1'
# The first opens an editor, the others are words of a sentence.
NOT_BY_ITSELF = {
    "systemctl edit coderunner",
    "systemctl reload",
    "systemctl restart",
    "docker rm",
    "docker volume rm",
}
# A read whose time is over has taken what there was of a line.
PROGRAM = """i=0 word=
while :; do
  if read -t 0.1 part; then echo "got $word$part"; word=; else word=$word$part; fi
  echo line $((i++))
done"""


class Guide:
    """Runs a page's pieces on a machine, and keeps what was replaced, for the end."""

    def __init__(self, machine: Machine, page: Path) -> None:
        self.machine = machine
        self.left = pieces(page)
        self.used: set[str] = set()
        self.instead = INSTEAD if machine.whole else INSTEAD | IN_A_CONTAINER

    def follow(self, section: str) -> None:
        """The commands of the section that is next."""
        assert self.left, f"nothing is left for {section}"
        assert self.left[0].section == section, f"{section} was to come, not {self.left[0].section}"
        began = time.monotonic()
        while self.left and self.left[0].section == section:
            self.do(self.left.pop(0))
        print(f"{section}: {time.monotonic() - began:.1f} s", flush=True)

    def do(self, piece: Piece) -> None:
        commands = self.commands(piece)
        if piece.prints is None:
            self.machine.must(commands, 400)
        else:
            wanted = piece.prints
            self.machine.until(commands, lambda said: prints_so(said, wanted), 90)

    def commands(self, piece: Piece) -> str:
        commands = piece.commands
        for there, here in self.instead.items():
            if there in commands:
                self.used.add(there)
                commands = commands.replace(there, here)
        return commands


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machines.started(tmp_path) as one:
        yield one


# --- what the machine is given -----------------------------------------------------------------------------


def release(machine: Machine, folder: Path, change: str = "") -> None:
    """The tree as it is, as another commit of the repository that the machine clones."""
    repository = folder / "repository"
    if not repository.exists():
        repository.mkdir()
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True, timeout=60,
        ).stdout.split(b"\0")  # fmt: skip
        there = [name for name in names if name and (ROOT / name.decode()).is_file()]
        subprocess.run(
            ["sh", "-c", f"tar -c --null -T - | tar -x -C '{repository}'"],
            cwd=ROOT, input=b"\0".join(there), check=True, timeout=60,
        )  # fmt: skip
    if change:
        package = repository / "server/coderunner/__init__.py"
        package.write_text(re.sub(r'(__version__ = )"[^"]*"', rf'\1"{change}"', package.read_text()))
    script = "[ -d .git ] || git init -q -b main; git add -A; git commit -qm x"
    who = dict.fromkeys(
        ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"), "test"
    )
    subprocess.run(["sh", "-ec", script], cwd=repository, env=os.environ | who, check=True, timeout=60)
    packed = subprocess.run(
        ["tar", "-c", ".git"], cwd=repository, capture_output=True, check=True, timeout=60
    ).stdout
    machine.put(packed, "/srv/git.tar")
    machine.must(f"rm -rf {ORIGIN}; mkdir -p {ORIGIN}; tar -x --no-same-owner -C {ORIGIN} -f /srv/git.tar")


def give_images(machine: Machine) -> None:
    """Those that the machine would build are built here, and carried over; or its disk has had them."""

    async def build() -> list[str]:
        builder = server_builder()
        built = [await builder.ensure(name, print) for name in LANGUAGES]
        # Where the base has security updates, the machine builds it anew, from what it came from.
        return [origin.ORIGIN, builder.base().reference, *built]

    if not machine.whole:
        save = f"docker save {' '.join(asyncio.run(build()))}"
        script = f"{save} | {shlex.join([*machine.shell, 'docker load'])}"
        subprocess.run(["sh", "-c", script], check=True, timeout=300, capture_output=True)
    machine.must(f"sed -i 's/^LANGUAGES=.*/LANGUAGES={','.join(LANGUAGES)}/' /opt/coderunner/.env")
    if SLOWNESS > 1:  # an emulated machine's engine answers late
        for name in ("DOCKER_CMD_TIMEOUT", "DOCKER_TIMEOUT"):
            machine.must(f"sed -i -E 's/^({name}=.*)/\\10/' /opt/coderunner/.env")


def give_authority(machine: Machine) -> None:
    machine.put((ROOT / "tests/deployment/acme.py").read_bytes(), "/srv/acme.py")
    command = f"/usr/bin/python3 /srv/acme.py {ACME} /srv/authority.crt"
    machine.must(f"systemd-run --quiet --unit=authority {command}")
    machine.until(f"curl -s http://127.0.0.1:{ACME}/directory || true", lambda said: "newNonce" in said, 20)
    server = f"http://127.0.0.1:{ACME}/directory"
    words = f"server = {server}\nagree-tos = true\nregister-unsafely-without-email = true\n"
    words += "no-random-sleep-on-renew = true\n"  # up to eight minutes, where nobody sits at a terminal
    machine.put(words.encode(), "/etc/letsencrypt/cli.ini")
    machine.must(f"cat /srv/authority.crt >>{machines.TRUST}")


# --- what happens on it ------------------------------------------------------------------------------------


def main_pid(machine: Machine) -> str:
    return machine.must("systemctl show -P MainPID coderunner").strip()


def status(machine: Machine) -> dict[str, str]:
    names = "ActiveState,SubState,Result,ExecMainStatus,NRestarts"
    said = machine.must(f"systemctl show coderunner -p {names}")
    return dict(line.split("=", 1) for line in said.splitlines())


def ready(machine: Machine, seconds: float = 120) -> None:
    machine.until(
        f"curl -s -H 'Host: {NAME}' http://127.0.0.1:3000/api/ready || true",
        lambda said: said.startswith('{"ready":true'),
        seconds,
    )


class User:
    """Somebody with a page open, who comes through nginx from outside of the machine."""

    def __init__(self, machine: Machine) -> None:
        self.url = f"https://{machine.address}:{machine.port(443)}/"
        self.opened: m.Opened | None = None
        self.typed = 0

    def way(self) -> dict[str, object]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return {"headers": {"Host": NAME}, "ssl": context}

    def begin(self) -> None:
        async def use() -> None:
            async with session(self.url, "bash", keep=True, **self.way()) as client:
                await client.run(1, PROGRAM, entry="main.sh")
                await client.until(1, "line 3\n")
                self.opened, self.client = client.opened, client.client

        asyncio.run(use())

    async def _attach(self, look: object) -> None:
        assert self.opened is not None
        async with connect(self.url, f"ws/{self.opened.session}", client=self.client, **self.way()) as client:
            await client.send(m.Attach(self.opened.session, self.opened.token, self.client, cursors={1: 0}))
            client.channel(1).start = 0
            await look(client)  # type: ignore[operator]

    def goes_on(self) -> None:
        """Everything that was printed is there, and the program still hears what is typed."""
        word = f"word{self.typed}"

        async def look(client: Client) -> None:
            one = client.channel(1)
            one.sent = one.in_ack = self.typed
            await client.input(1, f"{word}\n".encode())
            await client.until(1, f"got {word}\n")
            numbers = [int(number) for number in re.findall(r"^line (\d+)$", one.text, re.M)]
            assert numbers == list(range(len(numbers)))
            self.typed += len(word) + 1

        asyncio.run(self._attach(look))

    def end(self) -> None:
        async def look(client: Client) -> None:
            await client.send(m.Close())
            await client.closed()

        asyncio.run(self._attach(look))


def measure(machine: Machine) -> None:
    """The sizes that the page names are those that are seen here."""
    page = GUIDE.read_text()
    low, high = map(int, re.findall(r"the server (\d+)–(\d+) MB", page)[0])
    seen = int(machine.must(f"grep VmRSS /proc/{main_pid(machine)}/status").split()[1]) / 1024
    print(f"the server has {seen:.0f} MB")
    assert low * 0.85 < seen < high * 1.15, f"the server has {seen:.0f} MB, not {low}–{high}"


def log_has_priorities(machine: Machine) -> None:
    first = machine.must("journalctl -u coderunner -o cat | grep -m1 '^{'")
    assert json.loads(first)["msg"].startswith("CodeRunner ")
    machine.must('journalctl -u coderunner -p info -o cat | grep -q \'"msg":"listening"\'')
    said = machine.run('journalctl -u coderunner -p warning -o cat | grep -c \'"msg":"listening"\'')
    assert said.out.strip() == "0", "an info line has the priority of a warning"


def wrong_settings_before_an_upgrade(machine: Machine, guide: Guide, user: User) -> None:
    """The check stops the operator before the old server is touched."""
    pid = main_pid(machine)
    machine.must("echo WARM_FLOR=3 >>/opt/coderunner/.env")
    upgrade = next(piece for piece in guide.left if piece.section == "Upgrade")
    said = machine.run(guide.commands(upgrade), 400)
    assert said.code == 2
    assert ".env line" in said.all
    assert "did you mean WARM_FLOOR?" in said.all
    assert main_pid(machine) == pid
    user.goes_on()
    machine.must("sed -i /WARM_FLOR/d /opt/coderunner/.env")


def hardened(machine: Machine) -> None:
    """The kernel holds for the server's process what its unit says."""
    pid = main_pid(machine)
    said = dict(re.findall(r"^(\w+):\s*(.*)$", machine.must(f"cat /proc/{pid}/status"), re.M))
    assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")
    assert {int(said[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh")} == {0}
    assert machine.must(f"stat -c %U /proc/{pid}").strip() == "coderunner"
    mounts = machine.must(f"cat /proc/{pid}/mountinfo")
    flags = {fields[4]: fields[5].split(",") for fields in map(str.split, mounts.splitlines())}
    for place in ("/", "/home", "/root", "/sys/fs/cgroup", "/proc/sys"):
        assert "ro" in flags[place], f"{place} can be written"
    assert "rw" in flags["/var/lib/coderunner"]
    if machine.whole:
        group = machine.must(f"cut -d: -f3 /proc/{pid}/cgroup").strip()
        limits = machine.must(f"cd /sys/fs/cgroup{group}; cat memory.max cpu.weight").split()
        assert limits == [str(1 << 30), "1000"]


def confined(machine: Machine) -> None:
    """AppArmor confines the processes of a session: by the server, the doctor, and the kernel."""
    said = machine.must(f"curl -s -H 'Host: {NAME}' http://127.0.0.1:3000/api/ready")
    assert json.loads(said)["confinement"] == "apparmor"
    doctor = machine.run("cd /opt/coderunner; .venv/bin/python -m coderunner doctor --json").out
    found = {one["check"]: one["text"] for one in json.loads(doctor)["findings"]}
    assert found["confinement"] == "apparmor"
    assert found["cgroups"] == "version 2"
    # One that waits may be replaced meanwhile: its process is gone then.
    ask = "docker inspect -f '{{.State.Pid}}' $(docker ps -q --filter label=type=coderunner-session)"
    look = f"for pid in $({ask}); do cat /proc/$pid/attr/current || continue; done 2>/dev/null; true"
    assert {*machine.must(look).splitlines()} == {"docker-default (enforce)"}


def killed(machine: Machine, user: User) -> None:
    pid = main_pid(machine)
    machine.must(f"kill -9 {pid}")
    machine.until("systemctl show -P MainPID coderunner", lambda said: said.strip() not in ("0", pid), 60)
    ready(machine)
    user.goes_on()


def wrong_settings(machine: Machine) -> None:
    """The unit does not try again what cannot come right."""
    machine.must("sed -i 's/^PORT=.*/PORT=http/' /opt/coderunner/.env; systemctl restart coderunner || true")
    machine.until("systemctl is-failed coderunner || true", lambda said: said.strip() == "failed", 60)
    seen = status(machine)
    assert seen["ExecMainStatus"] == "2"
    assert seen["SubState"] == "failed", "the unit waits to be started again"  # that would be auto-restart
    said = machine.must("journalctl -u coderunner -p err -o cat -n 5")
    assert "PORT cannot be 'http'" in said
    machine.must("sed -i 's/^PORT=.*/PORT=3000/' /opt/coderunner/.env; systemctl start coderunner")
    ready(machine)


def tried_again(machine: Machine, trouble: str, word: str, mend: str) -> None:
    """The unit tries again until what was in the way is gone, and then serves."""
    machine.must(f"systemctl stop coderunner; {trouble}; systemctl start --no-block coderunner")
    machine.until("systemctl show -P NRestarts coderunner", lambda said: int(said) >= 2, 120)
    said = machine.must("journalctl -u coderunner -o cat -n 40")
    assert said.count("status=75/TEMPFAIL") >= 2
    assert word in machine.must("journalctl -u coderunner -p err -o cat -n 3")
    machine.must(mend)
    ready(machine)


def broken_bound(machine: Machine) -> None:
    """If a container limit is not enforced, the server ends, and the unit does not restart it."""
    profile = "/opt/coderunner/server/coderunner/engine/seccomp.json"
    machine.must(f"cp {profile} /srv/seccomp.json")
    document = json.loads(machine.must(f"cat {profile}"))
    document |= {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    machine.put(json.dumps(document).encode(), profile)
    machine.must("systemctl restart coderunner")
    machine.until("systemctl is-failed coderunner || true", lambda said: said.strip() == "failed", 60)
    assert status(machine)["ExecMainStatus"] == "3"
    journal = machine.must("journalctl -u coderunner -p crit -o cat -n 20")
    assert "a container limit is not enforced" in journal
    machine.must(f"cp /srv/seccomp.json {profile}; systemctl start coderunner")
    ready(machine)


def reaped(machine: Machine) -> None:
    """While no server lives, the timer fires, and its service removes what is over, and nothing else."""
    machine.must("systemctl stop coderunner")
    image = machine.must("docker images -q coderunner/bash | head -1").strip()
    made = [
        machine.must(
            f"docker run -d --label type=coderunner-session --label coderunner.instance=coderunner"
            f" --label coderunner.deadline={deadline} --network none {image} sleep 600"
        ).strip()
        for deadline in (int(time.time()) - 60, int(time.time()) + 3600)
    ]
    assert "coderunner-reap.service" in machine.must("systemctl list-timers --all coderunner-reap.timer")
    before = machine.must("systemctl show -P LastTriggerUSecMonotonic coderunner-reap.timer")
    # The test does not wait for the timer's five minutes.
    soon = f"mkdir -p {SOON.parent}; printf '[Timer]\\nOnActiveSec=1\\nRandomizedDelaySec=0\\n' >{SOON}"
    machine.must(f"{soon}; systemctl daemon-reload; systemctl restart coderunner-reap.timer")
    left = machine.until("docker ps -aq --no-trunc", lambda said: made[0] not in said.split(), 60).split()
    assert made[1] in left
    after = machine.must("systemctl show -P LastTriggerUSecMonotonic coderunner-reap.timer")
    assert after != before, "the timer did not fire"
    show = "systemctl show -P ActiveState,Result coderunner-reap.service"
    assert "success" in machine.until(show, lambda said: "inactive" in said)
    machine.must(f"rm -f {SOON}; systemctl daemon-reload; docker rm -fv {made[1]}")
    machine.must("systemctl start coderunner")
    ready(machine)


def engine_restarts(machine: Machine, user: User) -> None:
    machine.must("systemctl restart docker")
    ready(machine)
    user.goes_on()


def inline_commands(machine: Machine) -> None:
    programs = ("systemctl", "docker", "journalctl", "ss", "id", "readlink", "systemd-analyze", "git diff")
    programs += (".venv/bin/python",)
    found = [one for one in inline(GUIDE, programs) if one not in NOT_BY_ITSELF]
    assert len(found) > 8
    for command in found:
        if "prune" in command:
            command = f"cd /opt/coderunner\nyes n | {command}"
        # Right after a start the doctor may say that no session could start yet.
        machine.until(
            f"({command}) >/srv/said 2>&1 && echo done || cat /srv/said", lambda said: said == "done\n"
        )


def ports(machine: Machine) -> None:
    """From outside: the web server answers, the server itself does not."""
    for port, answers in ((443, True), (80, True), (3000, False)):
        with socket.socket() as one:
            one.settimeout(3 * SLOWNESS)
            said = b""
            # What forwards the ports of a virtual machine takes connections that it then cannot pass on.
            with contextlib.suppress(OSError):
                one.connect((machine.address, machine.port(port)))
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                said = one.recv(100)
            assert said.startswith(b"HTTP/") is answers, (port, said)


def carried(machine: Machine, kit: Guide) -> None:
    """The way without a network: packed here, removed, and unpacked where no network is."""
    kit.do(kit.left.pop(0))
    sizes = [int(one) / 1e6 for one in machine.must("stat -c %s /tmp/code.tar.gz /tmp/images.tar.gz").split()]
    named = [int(one) for one in re.findall(r"have (\d+) MB and (\d+) MB", KIT.read_text())[0]]
    print(f"the kit has {sizes[0]:.0f} MB and {sizes[1]:.0f} MB")
    for seen, wanted in zip(sizes, named, strict=True):
        assert 0.75 * wanted < seen < 1.25 * wanted, f"the kit has {sizes}, not {named} MB"


def unpacked(machine: Machine, kit: Guide) -> None:
    piece = kit.left.pop(0)
    machine.must("cd /root")
    said = machine.must(piece.commands, 300, around="unshare --net")
    assert said.count("present, built") == len(LANGUAGES)
    machine.must("cd /opt/coderunner; scripts/setup.sh; scripts/images.sh build", around="unshare --net")
    assert kit.left == []


def test_the_guide(machine: Machine, tmp_path: Path) -> None:
    guide, kit = Guide(machine, GUIDE), Guide(machine, KIT)
    if machine.whole:
        kit.left, kit.instead = [], {}
    release(machine, tmp_path)
    guide.follow("Packages and the engine")
    guide.follow("The code")
    guide.follow("A user and the settings")
    give_images(machine)
    guide.follow("The images")
    guide.follow("The service")
    hardened(machine)
    if machine.whole:
        confined(machine)
    measure(machine)
    log_has_priorities(machine)
    give_authority(machine)
    guide.follow("A certificate")
    guide.follow("nginx")
    guide.follow("Below a path")
    guide.follow("Firewall")
    ports(machine)

    user = User(machine)
    user.begin()
    release(machine, tmp_path, "0.1.99")
    wrong_settings_before_an_upgrade(machine, guide, user)
    guide.follow("Upgrade")
    assert "0.1.99" in machine.must(STARTED)
    # The unit's main process is the one that took the place of the other.
    assert "--replace" in machine.must("cat /proc/$(systemctl show -P MainPID coderunner)/cmdline")
    user.goes_on()
    guide.follow("Rollback")
    assert "0.1.99" not in machine.must(STARTED)
    user.goes_on()
    guide.follow("Security updates")

    killed(machine, user)
    engine_restarts(machine, user)
    wrong_settings(machine)
    user.goes_on()
    inline_commands(machine)
    busy = "systemd-run --unit=busy /usr/bin/python3 -m http.server --bind 127.0.0.1 3000"
    tried_again(machine, busy, "127.0.0.1:3000 cannot be listened on", "systemctl stop busy")
    user.goes_on()
    user.end()
    full = (
        "mount -t tmpfs -o size=4k,mode=777 none /var/lib/coderunner;"
        " head -c 4096 /dev/zero >/var/lib/coderunner/x"
    )
    tried_again(machine, full, "No space left on device", "umount /var/lib/coderunner")
    broken_bound(machine)
    reaped(machine)

    if kit.left:
        carried(machine, kit)
    guide.follow("Stop and uninstall")
    if kit.left:
        unpacked(machine, kit)
    assert guide.left == []
    assert guide.used | kit.used == set(guide.instead)
