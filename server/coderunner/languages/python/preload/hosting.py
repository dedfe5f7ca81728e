"""A Python with modules imported, from which programs are forked (`[preload]` in docs/languages.md).

    host.py [--import MODULE]... [--call MODULE:FUNCTION]... [--plain FILE]...

Each program is forked from the same state and becomes what `python3 FILE ARGUMENTS` would be: the
interpreter's own `Py_RunMain` reads the file, with nothing of this on its stack. `--call`: what a program's
process calls before it begins, for what must not be the same in two of them. `--plain`: a file in the
workspace with which a program is executed instead; as is one with a file that would hide a module of ours.
"""

import sys

_PLAIN = frozenset(sys.modules)  # what every Python has imported when its program begins
_ROOM = 4096  # bytes for a program's command line, where `ps` looks
_MAX_FILES = 1000  # a workspace with more of them is not looked through
_SOCKET = 3
_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_MAP = ("start_code", "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack", "arg_start",
        "arg_end", "env_start", "env_end")  # struct prctl_mm_map, before its auxv  # fmt: skip


class Host:
    def __init__(self, arguments):
        import atexit

        atexit.register(self.forget)  # the first of all, so that it is the last
        self.calls = []
        self.plain_with = set()
        for option, value in zip(arguments[::2], arguments[1::2], strict=True):
            if option == "--import":
                __import__(value)
            elif option == "--call":
                module, _, function = value.partition(":")
                __import__(module)
                self.calls.append(getattr(sys.modules[module], function))
            elif option == "--plain":
                self.plain_with.add(value)
            else:
                raise SystemExit(f"host.py: there is no option {option}")
        self.modules = {name: module for name, module in sys.modules.items() if name not in _PLAIN}
        # Files and folders of these names would be what a plain program imports.
        self.names = {name.partition(".")[0] for name in self.modules}
        self._take_tools()
        self.memory = self._memory_map()

    def _take_tools(self):
        """Modules for our own use, which programs do not find imported."""
        before = dict(sys.modules)
        sys.path[:0] = ["/opt/coderunner", "/opt/coderunner/preload"]
        import _socket
        import array
        import ctypes
        import json
        import os
        import resource
        import signal
        import stat

        import become

        from coderunner.agent import kernel, supervisor

        del sys.path[:2]
        self.array, self.ctypes, self.json, self.os, self.signal = array, ctypes, json, os, signal
        self.stat, self.become, self.kernel, self.supervisor = stat, become, kernel, supervisor
        self.resource = resource
        self.socket = _socket.socket(fileno=_SOCKET)
        for name in sys.modules.keys() - before.keys():
            del sys.modules[name]

    # --- requests ----------------------------------------------------------------------------------

    def serve(self):
        import gc

        self.kernel.hide_memory()
        gc.collect()
        # From here on nothing that is there now is counted, or taken apart in a fork: that copies pages.
        self.become.keep_for_ever(gc.get_objects())
        gc.freeze()
        self.socket.send(b"ready")
        room = 6 * self.array.array("i").itemsize
        while True:
            data, controls, _, _ = self.socket.recvmsg(1 << 20, 2 * room)
            if not data:
                return
            descriptors = self.array.array("i")
            for _, _, rights in controls:
                descriptors.frombytes(rights)
            request = self.json.loads(data)
            try:
                pid = self.become.fork_beside()
            except OSError:
                pid = None
            if pid == 0:
                self._supervise(request["spec"], *descriptors)
            for number in descriptors:
                self.os.close(number)
            self.socket.send(self.json.dumps({"number": request["number"], "pid": pid}).encode())

    def _supervise(self, spec, stdin, stdout, stderr, report, go, source=-1):
        """In the fork.  Begins with a byte from `go`; without one somebody else has done it."""
        try:
            self.socket.detach()
            if not self.os.read(go, 1):
                return
            sys.modules["resource"] = self.resource  # which `wait4` imports, otherwise in each fork anew
            self.supervisor.supervise(spec, (stdin, stdout, stderr), report, go, source, self.turn)
        finally:
            self.os._exit(0)

    # --- programs ----------------------------------------------------------------------------------

    def turn(self, argv, spec):
        """In the program's process, settled as for an exec.  Returns where it has to be one."""
        if argv[0] != "python3" or argv[1] != spec["entry"] or self._unusual(spec):
            return
        sys.modules.pop("resource", None)
        path = self.os.path.join(self.os.getcwd(), argv[1])
        for call in self.calls:
            call()
        self.os.environ.clear()
        self.os.environ.update(spec["env"])
        _new_main()
        sys.orig_argv = list(argv)
        sys.argv = argv[1:]
        _open_streams()
        self._rename(argv, spec["env"])
        self.kernel.show_memory()
        self.supervisor.mark_for_oom(self.os.getpid())
        self._signals()
        self.os.closerange(3, self.os.sysconf("SC_OPEN_MAX"))  # the last is what our parent waits for
        try:
            self.signal.signal(self.signal.SIGINT, self.signal.default_int_handler)
            self.become.run(path, argv[1:])
        except KeyboardInterrupt:
            self.signal.signal(self.signal.SIGINT, self.signal.SIG_DFL)
            self.os.kill(self.os.getpid(), self.signal.SIGINT)

    def _unusual(self, spec):
        """Whether a plain start may do something else: by the files there are, or because we cannot say."""
        if spec["entry"].startswith("-"):
            return True  # options
        try:
            if not self.stat.S_ISREG(self.os.stat(spec["entry"]).st_mode):
                return True
        except OSError:
            return True
        if self.os.path.exists(self.os.path.join(spec["workspace"], ".local/lib")):
            return True  # packages of the user's own, which Python looks for at its start
        count = 0
        for _, folders, files in self.os.walk(spec["workspace"]):
            folders[:] = [name for name in folders if not name.startswith(".")]
            count += len(folders) + len(files)
            if count > _MAX_FILES:
                return True
            if not self.plain_with.isdisjoint(files):
                return True
            if not self.names.isdisjoint(folders) or any(name.split(".")[0] in self.names for name in files):
                return True
        return False

    def _signals(self):
        """As the interpreter has them when it begins; all others are the kernel's already."""
        for number in (self.signal.SIGPIPE, self.signal.SIGXFSZ):
            self.signal.signal(number, self.signal.SIG_IGN)

    def _rename(self, argv, env):
        """What `ps` and /proc show of the program: its command line and environment, not the host's."""
        words = b"".join(self.os.fsencode(word) + b"\0" for word in argv)
        names = b"".join(self.os.fsencode(f"{name}={value}") + b"\0" for name, value in env.items())
        start, end = self.memory["arg_start"], self.memory["arg_end"]
        if len(words) + len(names) > end - start:
            return
        self.ctypes.memmove(start, words + names, len(words) + len(names))
        middle = start + len(words)
        now = {"arg_end": middle, "env_start": middle, "env_end": middle + len(names)}
        libc = self.ctypes.CDLL(None)
        libc.sbrk.restype = self.ctypes.c_void_p
        values = {**self.memory, **now, "brk": libc.sbrk(0)}
        numbers = self.array.array("Q", [*(values[name] for name in _MAP), 0])
        whole = numbers.tobytes() + self.array.array("I", [0, 0xFFFFFFFF]).tobytes()
        # Where the kernel does not know it, the host's command line stays.
        libc.prctl(_PR_SET_MM, _PR_SET_MM_MAP, whole, self.ctypes.c_ulong(len(whole)), 0)

    def _memory_map(self):
        """The addresses that /proc/self/stat has (its fields 26 to 28 and 45 to 51)."""
        with open("/proc/self/stat", "rb") as file:
            fields = [b"", b"", *file.read().rpartition(b")")[2].split()]
        places = {
            "start_code": 25, "end_code": 26, "start_stack": 27, "start_data": 44, "end_data": 45,
            "start_brk": 46, "arg_start": 47, "arg_end": 48, "env_start": 49, "env_end": 50,
        }  # fmt: skip
        return {name: int(fields[place]) for name, place in places.items()}

    def forget(self):
        """At a program's very end: what was imported here is not taken apart, it dies with the process."""
        for name, module in self.modules.items():
            standard = name.partition(".")[0] in sys.stdlib_module_names
            if not standard and sys.modules.get(name) is module:
                del sys.modules[name]


def _new_main():
    """`__main__` as it is before a file is read into it; a new one, which the collector knows as such."""
    module = type(sys)("__main__")
    module.__annotations__ = {}
    module.__builtins__ = sys.modules["builtins"]
    module.__loader__ = sys.modules["_frozen_importlib"].BuiltinImporter
    sys.modules["__main__"] = module


def _open_streams():
    """sys.stdin and its like, as the interpreter's own `create_stdio` opens them."""
    import io

    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        old = getattr(sys, f"__{name}__")
        errors = "backslashreplace" if number == 2 else old.errors
        buffer = open(number, f"{mode}b", -1, closefd=False)  # noqa: SIM115 (it is the program's)
        buffer.raw.name = f"<{name}>"
        lines = number == 2 or buffer.raw.isatty()
        stream = io.TextIOWrapper(buffer, old.encoding, errors, "\n", lines, False)
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main():
    # As a module of its own: `__main__` is to be the program's.
    import host

    host.begin(sys.argv[1:])


def begin(arguments):
    import os

    if not arguments or arguments[-1].strip():
        # Again, with room for a longer command line than ours.
        os.execv(sys.executable, [*sys.orig_argv, " " * _ROOM])
    del sys.modules["host"], sys.path[0]
    Host(arguments[:-1]).serve()


if __name__ == "__main__":
    main()
