"""Programs that tell whatever a program can tell of how it was started: the same text, the same start.

Each prints nothing that differs between two plain runs of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from coderunner.schema.messages import File


@dataclass(frozen=True)
class Probe:
    """``files``: the entry first.  ``send``: (text to wait for, what is typed then), waited for in a tty."""

    name: str
    files: dict[str, str]
    args: tuple[str, ...] = ()
    send: tuple[tuple[str, str], ...] = ()
    modes: tuple[str, ...] = ("pipe", "tty")
    source: dict[str, bytes] = field(default_factory=dict)
    begin: str = ""

    def entry(self) -> str:
        return self.begin or next(iter({**self.files, **dict.fromkeys(self.source, "")}))

    def all_files(self) -> tuple[File, ...]:
        texts = {path: text.encode() for path, text in self.files.items()}
        return tuple(File(path, data) for path, data in {**texts, **self.source}.items())


def _one(name: str, code: str, **more: object) -> Probe:
    return Probe(name, {"main.py": code}, **more)


_START = r"""
import gc, os, resource, signal, sys, threading, time
def marked():
    # An executed program is marked from outside (`supervisor.mark`), and may be here first.
    deadline = time.monotonic() + 20
    while (score := open("/proc/self/oom_score_adj").read()) == "0\n" and time.monotonic() < deadline: time.sleep(.001)
    return score
print("argv", sys.argv, sys.orig_argv, sys.executable, sys._base_executable, sys.prefix, sys.flags)
print("main", __name__, __file__, __spec__, __package__, __doc__, __loader__, __annotations__, __builtins__)
print("globals", list(globals())[:10], sys.modules["__main__"].__dict__ is globals())
print("path", sys.path, os.getcwd(), sys.meta_path[:2], sys.dont_write_bytecode)
print("streams", *[(s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines,
    s.fileno(), s.isatty(), s.closed, type(s.buffer), type(s.buffer.raw), s.buffer.raw.name, s.buffer.raw.mode,
    s.buffer.raw.closefd) for s in (sys.stdin, sys.stdout, sys.stderr)])
print("originals", sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
print("hooks", sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.gettrace())
print("stack", sys._getframe().f_back, len(sys._current_frames()), sys.getrecursionlimit())
print("threads", threading.active_count(), threading.main_thread() is threading.current_thread(),
    threading.main_thread().name, threading.get_native_id() == os.getpid(), os.listdir("/proc/self/task") == [str(os.getpid())])
print("signals", [(n, str(signal.getsignal(n))) for n in sorted(signal.valid_signals())])
print("mask", signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.set_wakeup_fd(-1), signal.getitimer(0))
print("kernel", [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn",
    "Name", "Umask", "Threads", "Seccomp:", "NoNewPrivs", "Cap", "Uid", "Groups", "TracerPid"))])
print("process", os.getpgrp() == os.getpid(), os.getsid(0) == os.getppid(), os.nice(0), os.umask(0o77),
    [resource.getrlimit(n) for n in range(15)], marked())
print("descriptors", sorted(os.listdir("/proc/self/fd")), os.get_inheritable(0), os.get_blocking(0))
print("command", open("/proc/self/cmdline").read(), open("/proc/self/comm").read(), os.readlink("/proc/self/exe"))
def environment(pairs):
    return sorted(one for one in pairs if not one.startswith("PYTHONPLAIN="))
print("environment", environment(f"{k}={v}" for k, v in os.environ.items()), os.environb[b"HOME"])
print("environ", environment(open("/proc/self/environ").read().split("\0")))
print("child", environment(os.popen("env").read().splitlines()))
print("collector", gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks)
print("usage", resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime < 1, resource.getrusage(resource.RUSAGE_SELF).ru_utime < 2)
print("interval", sys.getswitchinterval(), sys.getdlopenflags(), sys.flags.utf8_mode, sys.getfilesystemencoding())
"""

_DEPTH = """
import sys, traceback
def down(n):
    try:
        return down(n + 1)
    except RecursionError:
        return n
print(down(0))
def again(n): again(n + 1)
try:
    again(0)
except RecursionError as error:
    print(len(traceback.extract_tb(error.__traceback__)))
sys.setrecursionlimit(60)
print(down(0))
"""

_STACKS = """
import faulthandler, inspect, logging, sys, traceback, warnings
def inner():
    traceback.print_stack()
    print([(frame.function, frame.lineno) for frame in inspect.stack()], flush=True)
    faulthandler.dump_traceback()
    warnings.warn("careful", stacklevel=5)
    warnings.warn("careful", stacklevel=2)
    logging.basicConfig(format="%(filename)s:%(lineno)d %(funcName)s %(name)s %(process)s".replace("%(process)s", ""))
    logging.warning("x")
inner()
"""

_ERRORS = """
class Odd(Exception):
    def __str__(self): raise ValueError("no text")
def one(): raise KeyError("first")
def two():
    try: one()
    except KeyError as error: raise Odd("second") from error
try:
    two()
finally:
    eval("1 +* 2")
"""

_TEARDOWN = """
import atexit, sys, threading, time, weakref
class Thing:
    def __init__(self, name): self.name = name
    def __del__(self): print("gone", self.name, sys.is_finalizing())
keep = Thing("a global")
cycle = Thing("a cycle"); cycle.self = cycle
atexit.register(lambda: print("at exit, first", threading.active_count()))
atexit.register(print, "at exit, last")
weakref.finalize(keep, print, "finalized")
def late():
    time.sleep(.1); print("a thread that is waited for")
threading.Thread(target=late).start()
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
print("end of main")
"""

_BUFFERS = """
import os, sys
sys.stdout.write("no newline")
os.write(1, b"[direct]")
sys.stdout.write("; a line\\n")
os.write(1, b"[direct]\\n")
sys.stderr.write("err without newline")
os.write(2, b"[direct]\\n")
sys.stdout.buffer.write(b"bytes\\n")
print("x" * 9000, end="")
os.write(1, b"[after a full buffer]\\n")
"""

_INPUT = """
import sys
name = input("name? ")
print("hello", name)
print(repr(sys.stdin.readline()))
try:
    print(input())
    print(input())
except EOFError as error:
    print("the end", error)
"""

_PROCESSES = """
import concurrent.futures, multiprocessing, os, subprocess, sys
def double(n): return 2 * n
if __name__ == "__main__":
    print(multiprocessing.get_start_method(), multiprocessing.current_process().name, multiprocessing.parent_process())
    with multiprocessing.Pool(2) as pool: print(pool.map(double, range(5)))
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        print(pool.submit(double, 21).result())
    print(subprocess.run([sys.executable, "-c", "import sys; print(sys.argv, sys.path[0:2])"], capture_output=True, text=True))
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        print("in the child", flush=True)
        os._exit(5)
    print(os.waitpid(pid, 0)[1] >> 8)
    with concurrent.futures.ThreadPoolExecutor(2) as pool: print(list(pool.map(double, range(3))))
"""

_MAIN = """
import dataclasses, importlib, pickle, runpy, sys, typing
@dataclasses.dataclass
class Point: x: int
print(pickle.loads(pickle.dumps(Point(3))), Point.__module__, typing.get_type_hints(Point))
import __main__
print(__main__.Point is Point, sorted(vars(__main__)))
if __name__ == "__main__":
    x: int = 4
    print(__annotations__)
    sys.argv.append("more")
    import main
    print(main.__name__, main.__file__, main.__spec__.name, main is sys.modules["main"])
    import helper.inner
    print(helper.inner.WHERE, helper.inner.__cached__)
"""

_TRACE = """
import cProfile, io, pstats, sys
calls = []
sys.settrace(lambda frame, what, _: calls.append((what, frame.f_code.co_name, frame.f_lineno)))
def f(): return 1
f()
sys.settrace(None)
print(calls)
with cProfile.Profile() as profile:
    f(); sorted([3, 1])
out = io.StringIO()
pstats.Stats(profile, stream=out).sort_stats("name").print_stats()
print(out.getvalue().splitlines()[0].split("function")[0])
"""

_SIGNALS = """
import signal, sys, time
def handler(number, frame): print("signal", number, frame.f_code.co_name, frame.f_back is None)
signal.signal(signal.SIGUSR1, handler)
signal.raise_signal(signal.SIGUSR1)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt as error:
    print("interrupted", repr(error))
signal.signal(signal.SIGALRM, lambda *_: print("alarm", flush=True))
signal.setitimer(signal.ITIMER_REAL, .05)
time.sleep(.2)
"""

_INTERRUPT = """
import threading, time
class Thing:
    def __del__(self): print("gone")
thing = Thing()
def asleep(word):
    threading.Timer(.3, print, (word,), {"flush": True}).start()
    time.sleep(100)
try:
    asleep("ready")
except KeyboardInterrupt:
    asleep("once")
"""

_ASYNC = """
import asyncio
async def one(n):
    await asyncio.sleep(.01 * n)
    return n
async def main():
    print(await asyncio.gather(one(2), one(1)))
    process = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
    print(await process.communicate())
    async with asyncio.timeout(.01): await asyncio.sleep(5)
asyncio.run(main())
"""

_PLOT = """
import matplotlib, matplotlib.pyplot as plt, sys
print(matplotlib.get_backend(), plt.get_fignums(), matplotlib.rcParams == matplotlib.rcParamsDefault)
plt.plot([1, 2], label="ü"); plt.legend(); plt.show()
"""

_FRAME = """
import pandas as pd, numpy as np
print(pd.DataFrame({"a": [1, np.nan], "b": pd.to_datetime(["2024-01-01", "2025-02-03"])}).describe())
np.seterr(all="raise")
pd.Series([1]).nothing
"""

# What runs after a program's own last line, such as what is registered with atexit, is seen by its tracer.
_TRACED = """
import sys
def trace(frame, event, argument):
    # Modules of the library that are there already have their own ends.
    if not frame.f_code.co_filename.startswith("/usr/lib/"):
        print(frame.f_code.co_filename, frame.f_lineno, event)
    return trace
sys.settrace(trace)
def f(): pass
f()
"""
_CLASSES = """
import sys
def below(one):
    for each in one.__subclasses__():
        yield each
        yield from below(each)
print([each for each in below(BaseException) if each.__module__.startswith(("coderunner", "host"))])
print([path for path in sys.path_importer_cache if "/opt/" in path])
"""
_USER_SITE = """
import site, subprocess, sys
print(site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE, sys.flags, subprocess._args_from_interpreter_flags())
print(subprocess.run([sys.executable, "-c", "import sys; print(sys.flags)"], capture_output=True).stdout)
"""
PROBES = (
    _one("start", _START, args=("a", "b c", "ü", "-v", "")),
    _one("depth", _DEPTH),
    _one("stacks", _STACKS),
    _one("errors", _ERRORS),
    _one("teardown", _TEARDOWN),
    _one("buffers", _BUFFERS),
    _one("input", _INPUT, send=(("name? ", "Ada\n"), ("hello", "second\n"), ("'second", "third\n"), ("third\r\nthird", "\4"))),
    _one("processes", _PROCESSES),
    Probe("main", {"main.py": _MAIN, "helper/__init__.py": "", "helper/inner.py": "WHERE = __file__"}),
    _one("trace", _TRACE),
    _one("signals", _SIGNALS),
    _one("interrupt", _INTERRUPT, send=(("ready", "\3"), ("once", "\3")), modes=("tty",)),
    _one("async", _ASYNC),
    _one("plot", _PLOT),
    _one("frame", _FRAME),
    _one("exit code", "import sys\nprint('x')\nsys.exit(3)"),
    _one("exit large", "import sys\nsys.exit(256 + 5)"),
    _one("exit text", "import sys\nsys.exit('a text')"),
    _one("exit object", "raise SystemExit([1, 2])"),
    _one("exit in a function", "def f():\n  try:\n    exit(4)\n  finally:\n    print('finally')\nf()"),
    _one("exit at once", "import os\nprint('lost in a pipe')\nos._exit(7)"),
    _one("a raised interrupt", "class D:\n  def __del__(self): print('gone')\nd = D()\nraise KeyboardInterrupt"),
    _one("abort", "import os\nos.abort()"),
    _one("terminated", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nprint('never')"),
    _one("segmentation fault", "import ctypes\nctypes.string_at(0)"),
    _one("no memory for it", "x = 'x' * (1 << 40)"),
    _one("syntax error", "print('never')\nif True print('x')\n"),
    _one("null byte", "print('a')\0"),
    _one("tab error", "if 1:\n        a = 1\n\tb = 2\n"),
    Probe("syntax error in a module", {"main.py": "import broken", "broken.py": "def f(:\n  pass"}),
    _one("no such module", "import nothing_of_this_name"),
    _one("thread's error", "import threading\nt = threading.Thread(target=lambda: 1/0, name='T')\nt.start(); t.join()"),
    _one("error nobody can raise", "class D:\n  def __del__(self): 1/0\nD()\nprint('on')"),
    _one("group of errors", "raise ExceptionGroup('several', [ValueError(1), KeyError('k')])"),
    _one("own hook", "import sys\nsys.excepthook = lambda t, v, tb: print('hook', t, tb.tb_frame.f_code.co_name, tb.tb_next)\n1/0"),
    _one("closed stdout", "import sys\nprint('x')\nsys.stdout.close()"),
    _one("a pipe that broke", "import os, sys\nr, w = os.pipe(); os.close(r)\nos.dup2(w, 1)\nprint('x')"),
    _one("unclosed file", "import warnings\nwarnings.simplefilter('always')\nf = open('/dev/null')\nprint('x')"),
    _one("warnings", "import warnings\nwarnings.warn('old', DeprecationWarning)\nassert (1, 'x')"),
    _one("debugger", "x = 1\nbreakpoint()\nprint('after')\n", send=(("(Pdb)", "w\np x\nc\n"),)),
    _one("console", "import code\ncode.interact(local={'a': 1})", send=((">>> ", "a + 1\nexit()\n"),)),
    _one("everything of stdin", "import sys\nfor line in sys.stdin: print(repr(line))", send=(("", "one\ntwo\n"), ("", "\4"))),
    _one("bytes of stdin", "import sys\nprint(sys.stdin.buffer.read())", send=(("", "one\n"), ("", "\4"))),
    _one("letters", "print('Grüße, Привет, こんにちは 🙂')\nprint(ascii(input()))\nprint('\\udcff')", send=(("🙂", "ü🙂\n"),)),
    _one("help", "def f():\n  'Its text.'\nhelp(f)", modes=("pipe",)),
    _one("numbers", "import time, os\nprint(time.tzname, time.process_time() < 1, os.cpu_count(), os.getloadavg() is None)"),
    _one("traced to its end", _TRACED),
    _one("classes of ours", _CLASSES),
    _one("a user's packages", _USER_SITE),
    Probe("latin", {}, source={"main.py": b"# coding: latin-1\nprint('\xfc')\n1/0 # \xfc"}),
    Probe("byte order mark", {}, source={"main.py": b"\xef\xbb\xbfprint('x')\nprint(__file__)"}),
    Probe("wrong letters", {}, source={"main.py": b"print('\xff')"}),
    Probe("in a folder", {"src/app/main.py": "import sys\nprint(sys.path[0], sys.argv, __file__)\nimport near\n1/0", "src/app/near.py": "print(__name__)"}),
    Probe("a name with spaces", {"my program.py": "import sys\nprint(sys.argv, __file__)\n1/0"}),
    Probe("a name like an option", {"-B.py": "import sys\nprint(sys.argv, sys.flags)"}),
    Probe("a folder of its name", {"main.py/__main__.py": "import sys\nprint(sys.argv, sys.path[0], __package__)"}, begin="main.py"),
    Probe("another random", {"main.py": "import random\nprint(random.mine, random.__file__)", "random.py": "mine = 1"}),
    Probe("another package", {"main.py": "import numpy, json.tool\nprint(numpy.mine)", "numpy/__init__.py": "mine = 1"}),
    Probe("hidden behind a path", {"main.py": "import sys\nsys.path.insert(0, 'lib')\nimport collections.abc, struct\nprint(struct.mine)", "lib/struct.py": "mine = 1"}),
    Probe("not Python's name", {"main.txt": "import sys\nprint(sys.argv)"}),
)  # fmt: skip
