"""Attacks of one session on another, on the same machine."""

from __future__ import annotations

import asyncio
import contextlib

from coderunner.attack.case import Group
from coderunner.attack.programs import aftermath, describe
from coderunner.attack.stage import Stage, sessions_at_once
from coderunner.client.peer import Unexpected
from coderunner.schema import messages as m

GROUP = Group("neighbours")
_BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
_SPIN = "import os\nos.fork()\nwhile True: pass"


async def _hog(stage: Stage, hog: str, victim: str) -> str:
    """Runs `hog` in one session, and then `victim` in another. Returns the last line of the victim's
    output."""
    async with stage.session() as one, stage.session() as two:
        await one.run(1, hog + "\nprint('hogging', flush=True)\nimport time; time.sleep(60)")
        await one.wait(lambda: "hogging" in one.channel(1).text or one.channel(1).exit, 20, "the hog")
        return (await two.result(1, victim)).last_line


@GROUP.case("inotify-hog", "the neighbours' inotify watches", "inotify works")
async def _inotify(stage: Stage) -> str:
    # Instances and watches are counted for each user (inotify(7)), so sessions must not share a user.
    hog = """
import ctypes
libc = ctypes.CDLL(None)
import os
for number in range(300):
    if libc.inotify_init() < 0: break
descriptor = number and 3
os.makedirs("w", exist_ok=True)
for number in range(5000):
    try: os.mkdir(f"w/{number}")
    except OSError: break
    for descriptor in range(3, 20): libc.inotify_add_watch(descriptor, f"w/{number}".encode(), 0xfff)
"""
    victim = """
import ctypes
libc = ctypes.CDLL(None)
made = [libc.inotify_init() for _ in range(20)]
print("inotify works" if min(made) >= 0 and libc.inotify_add_watch(made[0], b".", 2) >= 0 else made)
"""
    return await _hog(stage, hog, victim)


@GROUP.case("pipe-hog", "the neighbours' pipe buffers", "pipes of 1 MiB")
async def _pipe(stage: Stage) -> str:
    # 1031 is F_SETPIPE_SZ (fcntl(2)): the kernel bounds the pages of all pipes of a user together (pipe(7)),
    # so sessions must not share a user.
    hog = """
import fcntl, os
kept = []
try:
    for _ in range(450):
        kept.append(os.pipe())
        try: fcntl.fcntl(kept[-1][1], 1031, 1 << 20)
        except OSError: pass
except OSError: pass
"""
    victim = """
import fcntl, os
reader, writer = os.pipe()
print("pipes of", fcntl.fcntl(writer, 1031, 1 << 20) >> 20, "MiB")
"""
    return await _hog(stage, hog, victim)


@GROUP.case("queue-hog", "the neighbours' message queues, semaphores and queued signals", "all there")
async def _queues(stage: Stage) -> str:
    # Queued signals are counted for each real user id (RLIMIT_SIGPENDING, getrlimit(2)).
    hog = """
import ctypes, os, signal
libc = ctypes.CDLL(None)
for number in range(40000):
    if libc.semget(0, 200, 0o600) < 0: break
for number in range(40000):
    if libc.msgget(0, 0o600) < 0: break
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
for number in range(200000):
    if libc.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(1)) < 0: break
"""
    victim = """
import ctypes, os, signal
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
seen = [libc.semget(0, 5, 0o600) >= 0, libc.msgget(0, 0o600) >= 0,
        all(libc.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(1)) == 0 for _ in range(50))]
print("all there" if all(seen) else seen)
"""
    return await _hog(stage, hog, victim)


@GROUP.case("terminal-hog", "the machine's pseudo-terminals", "32 or fewer, and a neighbour has one")
async def _terminals(stage: Stage) -> str:
    # All terminals of the machine count against one bound, which five processes reach (docs/containers.md).
    hog = """
import os
counts = []
for _ in range(5):
    reader, writer = os.pipe()
    if os.fork() == 0:
        taken = 0
        try:
            while taken < 900: os.openpty(); taken += 1
        except OSError: pass
        os.write(writer, b"%d " % taken)
        import time; time.sleep(60)
    counts.append(int(os.read(reader, 9)))
print("all", sum(counts), flush=True)
"""
    victim = "import os; print(len(os.openpty()))"
    async with stage.session() as one, stage.session() as two:
        await one.run(1, hog + "import time; time.sleep(60)")
        await one.wait(lambda: "\n" in one.channel(1).text or one.channel(1).exit, 20, "the hog")
        taken = int(one.channel(1).text.split()[1])
        neighbour = (await two.result(1, victim)).last_line == "2"
        few = "32 or fewer" if taken <= 32 else str(taken)
        return f"{few}, and a neighbour has {'one' if neighbour else 'none'}"


# Resources of the kernel that count against no container (docs/containers.md): file locks, datagrams and
# bytes that nobody receives, connections that nobody accepts, answers of netlink that nobody reads.
_HELD = {
    "locks": """
import fcntl
file = open("locked", "w+b")
for number in range(12000): fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * number)
""",
    "datagrams": """
import socket
held = []
for _ in range(400):
    reader, writer = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "rw")
    reader.bind(("127.0.0.1", 0))
    for _ in range(200): writer.sendto(bytes(1000), reader.getsockname())
    held += [reader, writer]
""",
    "streams": """
import socket
held = []
for _ in range(300):
    listener = socket.create_server(("127.0.0.1", 0))
    writer = socket.create_connection(listener.getsockname())
    reader, _ = listener.accept()
    writer.setblocking(False)
    try:
        while True: writer.send(bytes(65536))
    except BlockingIOError: held += [listener, writer, reader]
""",
    "unaccepted": """
import socket, struct
held, gone = [], struct.pack("ii", 1, 0)
for number in range(400):
    listener = socket.create_server((f"127.0.{number >> 8}.{number % 256 or 1}", 0), backlog=65535)
    listener.settimeout(0.2)
    held.append(listener)
    for _ in range(128):
        plug = socket.socket()
        plug.settimeout(0.2)
        try: plug.connect(listener.getsockname())
        except OSError: break
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, gone)
        plug.close()
""",
    "answers": """
import socket, struct
held = []
for _ in range(300):
    plug = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    for _ in range(80): plug.send(struct.pack("=IHHIIBBHiII", 32, 18, 1, 1, 0, 0, 0, 0, 1, 0, 0))
    held.append(plug)
""",
}
# The work of a terminal's line discipline is done by kernel threads, which belong to no container.
_ECHO = """
import os, time
began = time.monotonic()
pairs = [os.openpty() for _ in range(8)]
for pair in pairs:
    for one in pair: os.set_blocking(one, False)
data = b"a\\n" * 2000
while time.monotonic() - began < 38:
    for master, slave in pairs:
        work = (master, os.write, data), (master, os.read, 9999), (slave, os.read, 9999)
        for one, action, argument in work:
            try: action(one, argument)
            except BlockingIOError: pass
print(time.process_time() / (time.monotonic() - began))
"""
_STARVED = "went on, with too little time to do harm"


async def _ended(stage: Stage, code: str, seconds: float) -> str:
    """Runs a program that takes resources that no limit counts. Returns how its session ended."""
    async with stage.session() as peer:
        await peer.run(1, code)
        end = (await peer.ended(1, seconds)).exit
        return f"{end.reason if end else 'no end'}, closed with {await peer.closed(10)}"


def _hoarder(name: str) -> None:
    """Adds the case of one entry of _HELD."""

    @GROUP.case(f"{name}-hog", f"the kernel's memory, by {name} that count against no container", _EVICTED)
    async def _(stage: Stage) -> str:
        return await _ended(stage, _HELD[name] + "\nimport time; time.sleep(60)", 15)


_EVICTED = "evicted, closed with 1000"
for _name in _HELD:
    _hoarder(_name)


@GROUP.case("terminal-echo", "processors, by work of the kernel that no quota counts", _EVICTED, _STARVED)
async def _echo(stage: Stage) -> str:
    """A program whose terminals make the kernel work. On a busy machine it gets too little time for that,
    which is an expected outcome as well."""
    async with stage.session() as peer:
        await peer.run(1, _ECHO, limits={"cpu_ms": 60_000})
        stream = await peer.ended(1, 47)
        if stream.exit and stream.exit.reason == "exited":
            share = float(stream.last_line)
            return _STARVED if share < 0.5 else f"went on, with {share:.0%} of a processor"
        return f"{stream.exit.reason if stream.exit else 'no end'}, closed with {await peer.closed(10)}"


@GROUP.case("neighbour-files", "the files and processes of another session", "nothing of it")
async def _files(stage: Stage) -> str:
    mark = "mark-of-a-neighbour"
    async with stage.session() as one, stage.session() as two:
        await one.run(
            1, f"for p in ('/workspace', '/tmp', '/dev/shm'): open(p + '/{mark}', 'w').write('{mark}')\n"
            "print('up', flush=True); import time; time.sleep(60)"
        )  # fmt: skip
        await one.until(1, "up")
        look = f"""
import os
found = []
for root, folders, names in os.walk("/"):
    folders[:] = [n for n in folders if (root, n) not in (("/", "proc"), ("/", "sys"))]
    found += [n for n in names if n == {mark!r}]
for pid in filter(str.isdigit, os.listdir("/proc")):
    for link in ("cwd", "root"):
        try: found += [n for n in os.listdir(f"/proc/{{pid}}/{{link}}/") if n == {mark!r}]
        except OSError: pass
    try: found += [pid] if {mark!r} in open(f"/proc/{{pid}}/cmdline").read() else []
    except OSError: pass
print(*found or ["nothing of it"])
"""
        return (await two.result(1, look)).last_line


@GROUP.case(
    "persistence",
    "the next session, by files, shared memory and processes that this one leaves",
    "nothing left",
)
async def _persistence(stage: Stage) -> str:
    leave = """
import os, subprocess
for folder in ("/tmp", "/dev/shm", "/var/tmp", "/workspace", "/run", "/dev/mqueue"):
    try: open(folder + "/left", "w").close()
    except OSError: pass
if os.fork() == 0:
    os.setsid()
    os.execvp("sleep", ["sleep", "6161"])
"""
    look = """
import os
folders = ("/tmp", "/dev/shm", "/var/tmp", "/workspace", "/run", "/dev/mqueue")
found = [folder for folder in folders if os.path.lexists(folder + "/left")]
found += os.popen("ps -eo args").read().count("sleep 6161") * ["sleep"]
print(*found or ["nothing left"])
"""
    async with stage.session() as one:
        await one.result(1, leave)
    seen = set()
    # Three: the next session may come from the warm pool, and not from the container that was left.
    for _ in range(3):
        async with stage.session() as two:
            seen.add((await two.result(1, look)).last_line)
    return " / ".join(sorted(seen))


async def _everywhere(stage: Stage, code: str, limits: dict[str, int]) -> str:
    """Runs a program in ten sessions at once. Returns why it ended in them, and the aftermath."""
    async with contextlib.AsyncExitStack() as stack:
        peers = await sessions_at_once(stage, stack, 10)
        await asyncio.gather(*(peer.run(1, code, limits=limits) for peer in peers))
        streams = await asyncio.gather(*(peer.ended(1, 40) for peer in peers))
        reasons = {stream.exit.reason for stream in streams if stream.exit}
        after = {await aftermath(peer) for peer in peers}
        return " / ".join(sorted(reasons)) + " in all" + "".join(sorted(after))


@GROUP.case("fork-bombs-ten-at-once", "the machine, by fork bombs in ten sessions", "wall_timeout in all")
async def _bombs(stage: Stage) -> str:
    return await _everywhere(stage, _BOMB, {"wall_ms": 1500})


@GROUP.case("spinners-ten-at-once", "the machine's processors, by ten busy sessions", "wall_timeout in all")
async def _spinners(stage: Stage) -> str:
    return await _everywhere(stage, _SPIN, {"wall_ms": 1500})


@GROUP.case("memory-bombs-ten-at-once", "the machine's memory, by memory bombs in ten sessions", "oom in all")
async def _memory(stage: Stage) -> str:
    return await _everywhere(stage, "x = bytearray(1 << 30)", {})


@GROUP.case(
    "supervisor-of-another-channel", "another program of the same session, by its supervisor", "signaled: up"
)
async def _supervisor(stage: Stage) -> str:
    # The agent is PID 1, and the parent of all supervisors (docs/architecture.md).
    kill = """
import os, signal
own = os.getppid()
for pid in filter(str.isdigit, os.listdir("/proc")):
    with open(f"/proc/{pid}/stat") as file: parent = int(file.read().rpartition(")")[2].split()[1])
    if parent == 1 and int(pid) != own: os.kill(int(pid), signal.SIGKILL)
"""
    async with stage.session() as peer:
        await peer.run(1, "print('up', flush=True); import time; time.sleep(60)")
        await peer.until(1, "up")
        killer = await peer.result(2, kill)
        assert killer.exit
        if killer.exit.reason != "exited":
            raise Unexpected(f"the killer: {describe(killer)}")
        return describe(await peer.ended(1)) + await aftermath(peer)


@GROUP.case(
    "session-closed-under-a-bomb",
    "the end of a session, by a fork bomb",
    "session_closed, closed with 1000",
)
async def _closed(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.run(1, _BOMB)
        # Long enough for the bomb to reach its limit of processes.
        await asyncio.sleep(0.5)
        await peer.send(m.Close())
        code = await peer.closed(20)
        end = peer.channel(1).exit
        return f"{end.reason if end else 'no end'}, closed with {code}"
