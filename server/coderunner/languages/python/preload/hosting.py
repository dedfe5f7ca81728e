"""A Python with modules imported, from which programs are forked (`[preload]` in docs/languages.md).

    host.py [--agent] [--import MODULE]... [--call MODULE:FUNCTION]... [--plain FILE]...

Each program is forked from the same state and becomes what `python3 FILE ARGUMENTS` would be: the
interpreter's own `Py_RunMain` reads the file, with nothing of this on its stack. `--call`: what a program's
process calls before it begins, for what must not be the same in two of them. `--plain`: a file in the
workspace with which a program is executed instead; as is one with a file that would hide a module of ours.

It is started with `-s`, without a user's packages: those of a workspace would be in all later programs, and
in what says how they end. A program with such packages is executed.

`--agent`: as the container's first process. A fork of it is what programs are forked from, and it becomes the
agent itself: one start of an interpreter for both, and one memory.
"""

import sys

_MAX_FILES = 1000  # a workspace with more of them is not looked through
_SOCKET = 3
_ROOM = 4096  # bytes for descriptors; a request has six


class Host:
    """`plain`: names of the modules that every Python has imported when its program begins. `become`: the
    module of our own in C."""

    def __init__(self, plain, become, arguments):
        import atexit
        import site

        atexit.register(become.forget)  # the first of all, so that it is the last
        become.with_user_site()
        site.ENABLE_USER_SITE = True
        self.become = become
        self.imported = False
        self.calls = []
        self.plain_with = set()
        for option, value in zip(arguments[::2], arguments[1::2], strict=True):
            if option == "--import":
                __import__(value)
                self.imported = True
            elif option == "--call":
                module, _, function = value.partition(":")
                __import__(module)
                self.calls.append(getattr(sys.modules[module], function))
            elif option == "--plain":
                self.plain_with.add(value)
            else:
                raise SystemExit(f"host.py: there is no option {option}")
        self.modules = {name: module for name, module in sys.modules.items() if name not in plain}
        # Files and folders of these names would be what a plain program imports.
        self.names = {name.partition(".")[0] for name in self.modules}
        standard = sys.stdlib_module_names
        others = {name: one for name, one in self.modules.items() if name.partition(".")[0] not in standard}
        become.forget(others)
        self._take_tools()
        self.places = self._places()
        self._settle()

    def _take_tools(self):
        """Modules for our own use, which programs do not find imported."""
        before = frozenset(sys.modules)
        import gc

        gc.disable()  # until it serves: next to nothing is to be collected
        self.path, self.finders = list(sys.path), list(sys.meta_path)
        sys.path[:0] = ["/opt/coderunner/coderunner/agent", "/opt/coderunner/preload"]
        import os
        import resource
        import stat
        import struct

        import bundled

        bundled.install()
        # Without the modules around these parts in C: the agent, which has the same, starts faster.
        from coderunner.agent import kernel, supervisor
        from coderunner.agent.lean import signal, socket, suppress
        from coderunner.wire import compact

        self.gc, self.os, self.resource, self.stat, self.struct = gc, os, resource, stat, struct
        self.kernel, self.supervisor = kernel, supervisor
        self.signal, self.socket_module, self.compact, self.suppress = signal, socket, compact, suppress
        self.tools = sys.modules.keys() - before

    def _settle(self):
        """What every fork shares with this process is not to be copied in each of them."""
        self.kernel.hide_memory()
        if self.imported:
            self.gc.collect()  # what the imports have left
        # From here on nothing that is there now is counted, or taken apart in a fork: that copies pages.
        self.become.keep_for_ever(self.gc.get_objects())
        self.gc.freeze()

    # --- requests ----------------------------------------------------------------------------------

    def serve(self, ear):
        """Forks programs as it is asked to on this socket, until that is closed."""
        for name in self.tools:
            del sys.modules[name]
        sys.path[:], sys.meta_path[:] = self.path, self.finders
        for place in [one for one in sys.path_importer_cache if one.startswith("/opt/coderunner")]:
            del sys.path_importer_cache[place]
        self.gc.enable()
        self.socket = ear
        ear.send(b"ready")
        while True:
            data, controls, _, _ = ear.recvmsg(1 << 20, _ROOM)
            if not data:
                return
            rights = b"".join(one for _, _, one in controls)
            descriptors = self.struct.unpack(f"{len(rights) // 4}i", rights)
            request = self.compact.loads(data)
            try:
                pid = self.become.fork_beside()
            except OSError:
                pid = None
            if pid == 0:
                self._supervise(request["spec"], *descriptors)
            for number in descriptors:
                self.os.close(number)
            ear.send(self.compact.dumps({"number": request["number"], "pid": pid}))

    def serve_beside_the_agent(self):
        """Forks what serves, and becomes the agent."""
        os, socket = self.os, self.socket_module
        forked = None
        try:
            # SOCK_SEQPACKET keeps messages apart, and carries descriptors.
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            output = os.pipe()
            pid = os.fork()
            if pid == 0:
                self._serve_forked(ours, theirs, output)
            theirs.close()
            os.close(output[1])
            forked = pid, ours, output[0]
        except OSError as error:  # the agent starts one, once it is asked to
            os.write(2, f"host.py: not forked: {error}\n".encode())
        from coderunner.agent.main import main

        main(forked)

    def _serve_forked(self, ours, theirs, output):
        os = self.os
        try:
            ours.close()
            os.setsid()
            null = os.open("/dev/null", os.O_RDWR)
            for number, target in ((null, 0), (output[1], 1), (output[1], 2)):
                os.dup2(number, target)
            for number in (null, *output):
                os.close(number)
            self.serve(theirs)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)

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
        with self.suppress(OSError):  # a kernel that does not know it: the host's command line stays
            self.become.show_as(words, names, self.places)

    def _places(self):
        """Where this process's parts are, by fields 26 to 28 and 45 to 47 of /proc/self/stat."""
        with open("/proc/self/stat", "rb") as file:
            fields = [b"", b"", *file.read().rpartition(b")")[2].split()]
        return tuple(int(fields[place]) for place in (25, 26, 44, 45, 46, 27))


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


def begin(plain, arguments):
    """Serves, as of `Host`. Never returns."""
    import become

    del sys.modules["hosting"], sys.modules["become"], sys.path[0]
    first = arguments[:1] == ["--agent"]
    host = Host(plain, become, arguments[first:])
    if first:
        host.serve_beside_the_agent()
    host.serve(host.socket_module.socket(fileno=_SOCKET))
