"""Submissions that cheat a grader, and requests that would cost it more than their sender."""

from __future__ import annotations

import json
import secrets
from typing import Any

from coderunner.attack.case import Group
from coderunner.attack.stage import Stage
from coderunner.client import rest

GROUP = Group("batches")
CASES = 3
CLEAN = f"passed {CASES}"
# ctypes: several traces can be left only by system calls that Python has no function for.
_HEAD = "import ctypes, mmap, os, signal, socket, subprocess, sys, time\nlibc = ctypes.CDLL(None)\n"


async def _batch(stage: Stage, code: str, expected: str = "clean", **more: Any) -> Any:
    """The answer to a batch of CASES cases of one program. `more`: further fields of the request."""
    cases = [{"stdin": f"{number}\n", "expected": expected} for number in range(CASES)]
    document = {"language": "python", "source": _HEAD + code, "cases": cases, **more}
    answer = await rest.ask(
        stage.url + "api/batch",
        method="POST",
        body=json.dumps(document).encode(),
        headers={**stage.headers, "Content-Type": "application/json"},
    )
    return answer.document


async def _seen(stage: Stage, code: str, expected: str = "clean", **more: Any) -> str:
    """How many cases have which verdict."""
    told = await _batch(stage, code, expected, **more)
    if "counts" not in told:
        return str(told.get("code"))
    return ", ".join(f"{name} {count}" for name, count in sorted(told["counts"].items()))


# Each case runs in the session of the one before. These print `clean` unless they find what an earlier case
# left: files, mappings, modules, processes, attributes, IPC objects.
_LEAVES = {
    "batch-overwrites-program": """
print('clean', flush=True)
os.unlink('main.py')
open('main.py', 'w').write('print("seen")')
""",
    "batch-writes-through-a-map": """
print('clean', flush=True)
with open('main.py', 'r+b') as file:
    mapped = mmap.mmap(file.fileno(), 0)
    mapped[:13] = b'print("seen")'
    mapped.flush()
""",
    "batch-shadows-a-module": """
print('clean', flush=True)
open('mmap.py', 'w').write('import os\\nos.write(1, b"seen"); os._exit(0)')
open('sitecustomize.py', 'w').write('import os\\nos.write(1, b"seen"); os._exit(0)')
""",
    # A name in the abstract namespace has no file to be removed, and ends only with its process (unix(7)).
    # All signals are ignored that can be: 9 and 19 cannot, 32 and 33 are used by the C library (signal(7)).
    "batch-survivor": """
one = socket.socket(socket.AF_UNIX)
try:
    one.connect('\\0survivor')
    print('seen', flush=True)
except OSError:
    print('clean', flush=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in {*range(1, 65)} - {9, 19, 32, 33}: signal.signal(number, signal.SIG_IGN)
            one.bind('\\0survivor'); one.listen(); time.sleep(60)
        os._exit(0)
    time.sleep(0.1)
""",
    "batch-survivor-without-supervisor": """
one = socket.socket(socket.AF_UNIX)
try:
    one.connect('\\0other')
    print('seen', flush=True)
except OSError:
    print('clean', flush=True)
    if os.fork() == 0:
        one.bind('\\0other'); one.listen()
        supervisor = os.getppid()
        os.setsid()
        while True: time.sleep(1)
    time.sleep(0.1)
""",
    "batch-traces-in-folders": """
places = ('trace', '/workspace/.build/trace', '/workspace/.tmp/trace', '/tmp/trace', '/dev/shm/trace')
print('seen' if any(map(os.path.lexists, places)) else 'clean', flush=True)
for place in places:
    try:
        os.makedirs(place + '/a/b'); open(place + '/a/b/c', 'w').close(); os.chmod(place + '/a', 0)
    except OSError: pass
""",
    "batch-traces-in-deep-folders": """
print('seen' if os.path.lexists('deep') else 'clean', flush=True)
for number in range(3000):
    os.mkdir('deep'); os.chdir('deep')
""",
    "batch-traces-in-attributes": """
found = []
for place in ('/workspace', '/tmp', '/dev/shm'):
    try:
        found += os.listxattr(place)
        os.setxattr(place, 'user.trace', b'1')
    except OSError: pass
mode = os.stat('/workspace').st_mode
print('seen' if found or mode & 0o001 == 0 and mode & 0o020 else 'clean', flush=True)
os.chmod('/workspace', 0o720)
""",
    "batch-traces-in-memory": """
seen = libc.shmget(77, 4096, 0) >= 0 or libc.msgget(77, 0) >= 0 or libc.semget(77, 1, 0) >= 0
libc.mq_open.restype = ctypes.c_int
seen = seen or libc.mq_open(b'/trace', 0) >= 0
print('seen' if seen else 'clean', flush=True)
libc.shmget(77, 4096, 0o1666); libc.msgget(77, 0o1666); libc.semget(77, 1, 0o1666)
libc.mq_open(b'/trace', 0o102, 0o666, None)
""",
    "batch-memory-of-files": """
seen = os.path.exists('/dev/shm/m')
print('seen' if seen else 'clean', flush=True)
open('/dev/shm/m', 'wb').write(bytes(1 << 20))
""",
}

for _name, _code in _LEAVES.items():

    async def _leaves(stage: Stage, code: str = _code) -> str:
        return await _seen(stage, code)

    GROUP.add(_name, "the next case, by what this one leaves behind", _leaves, CLEAN)


@GROUP.case("batch-kills-supervisor", "the next case, by killing the supervisor", f"runtime_error {CASES}")
async def _kills(stage: Stage) -> str:
    return await _seen(stage, "print('clean', flush=True)\nos.kill(os.getppid(), 9)\ntime.sleep(9)\n")


@GROUP.case("batch-reads-expected", "the expected output, by searching for it", "not found")
async def _reads(stage: Stage) -> str:
    # The program gets half of it as an argument, so that it knows what to search for.
    secret = secrets.token_hex(16)
    code = """
half = sys.argv[1]
found = []
def look(place, data):
    if half.encode() in data and place not in skipped: found.append(place)
skipped = {f'/proc/{os.getpid()}/cmdline', '/proc/self/cmdline', f'/proc/{os.getpid()}/environ'}
for root in ('/workspace', '/tmp', '/dev/shm', '/run', '/etc'):
    for folder, _, names in os.walk(root):
        for name in names:
            path = folder + '/' + name
            try: look(path, open(os.open(path, os.O_NONBLOCK), 'rb').read(1 << 20))
            except OSError: pass
for pid in filter(str.isdigit, os.listdir('/proc')):
    for name in ('environ', 'cmdline', 'mem'):
        try: look(f'/proc/{pid}/{name}', open(f'/proc/{pid}/{name}', 'rb').read(1 << 20))
        except (OSError, ValueError): pass
print('found', found[0] if found else 'nothing')
"""
    told = await _batch(stage, code, secret, args=[secret[:16]])
    if told.get("counts") != {"wrong_answer": CASES}:
        return str(told.get("counts", told))
    printed = {one["stdout"] for one in told["cases"]}
    return "not found" if printed == {"found nothing\n"} else str(printed)


@GROUP.case("batch-prints-a-verdict", "the verdict, by output that looks like one", f"wrong_answer {CASES}")
async def _prints(stage: Stage) -> str:
    lines = (
        '{"type":"case","verdict":{"index":0,"verdict":"passed"}}',
        "event: case\\ndata: {}\\n\\n",
        '{"type":"exit","channel":1,"reason":"exited","code":0}',
    )
    code = "".join(f"print({line!r}, file=sys.stderr)\nprint({line!r})\n" for line in lines)
    return await _seen(stage, code)


@GROUP.case("batch-attacks-checker", "the checker, by its input", f"wrong_answer {CASES}")
async def _checker(stage: Stage) -> str:
    code = (
        "open('expected', 'w').write('mine'); open('input', 'w').write('mine')\n"
        "os.makedirs('../tmp/x', exist_ok=True)\nprint('mine\\0' * 1000)\n"
    )
    checker = "import sys\nsys.exit(open('output').read() != open('expected').read())\n"
    return await _seen(stage, code, checker={"kind": "program", "language": "python", "source": checker})


@GROUP.case("batch-fills-workspace", "the next case, by a full disk", CLEAN)
async def _fills(stage: Stage) -> str:
    code = (
        "print('clean', flush=True)\n"
        "try:\n    for n in range(99999): open(f'/workspace/f{n}', 'w').write('x' * 20000)\n"
        "except OSError: pass\n"
    )
    return await _seen(stage, code)


@GROUP.case("batch-fork-bomb", "the next case, by endless processes", f"time_limit {CASES}")
async def _bomb(stage: Stage) -> str:
    code = "while True:\n    try: os.fork()\n    except OSError: pass\n"
    return await _seen(stage, code, limits={"wall_ms": 1000})


@GROUP.case("batch-too-many-cases", "the server's memory, by very many cases", "bad_message")
async def _many(stage: Stage) -> str:
    # 1.5 MB of text that would be half a million objects.
    body = b'{"language":"python","source":"1","cases":[' + b"{}," * 500_000 + b"{}]}"
    answer = await rest.ask(
        stage.url + "api/batch",
        method="POST",
        body=body,
        headers={**stage.headers, "Content-Type": "application/json"},
    )
    return str(answer.document.get("code"))
