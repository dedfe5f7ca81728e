"""What the agent needs of Python's standard library, without the modules written in Python around it.

`signal`, `socket`, `ctypes` and `contextlib` import `enum`, `functools`, `collections` and `selectors`. That
was a third of the agent's start, which each session pays that finds no waiting container.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    import ctypes
    import signal
    import socket
    from contextlib import contextmanager, suppress

    libc = ctypes.CDLL(None, use_errno=True)
else:
    # The parts in C. Their names are those of the documented modules, their constants plain integers.
    import _ctypes as ctypes
    import _signal as signal
    import _socket as socket

    class _Int(ctypes._SimpleCData):  # noqa: SLF001
        _type_ = "i"

    class _Function(ctypes.CFuncPtr):
        _flags_ = ctypes.FUNCFLAG_CDECL | ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = _Int

    class _Library:
        """The C library, as of `ctypes.CDLL`."""

        _handle = ctypes.dlopen(None, 0)

        def __getattr__(self, name):
            function = _Function((name, self))
            setattr(self, name, function)
            return function

    libc = _Library()

    class suppress:
        """A block that ends at the first of these exceptions, which is not raised, as of `contextlib`."""

        def __init__(self, *exceptions):
            self._exceptions = exceptions

        def __enter__(self):
            return None

        def __exit__(self, kind, error, trace):
            return kind is not None and issubclass(kind, self._exceptions)

    class _Block:
        def __init__(self, work):
            self._work = work

        def __enter__(self):
            return next(self._work)

        def __exit__(self, kind, error, trace):
            try:
                if error is None:
                    next(self._work)
                else:
                    self._work.throw(error)
            except StopIteration:
                return error is not None
            except BaseException as raised:
                if raised is error:
                    return False
                raise
            raise RuntimeError("a block's generator has yielded twice")

    def contextmanager(function):
        """A block of a generator's, as of `contextlib`."""
        return lambda *arguments, **options: _Block(function(*arguments, **options))


get_errno = ctypes.get_errno
__all__ = ["contextmanager", "get_errno", "libc", "matches", "signal", "signal_name", "socket", "suppress"]
_SIGNALS = [name for name in dir(signal) if name.startswith("SIG") and not name.startswith("SIG_")]
_NAMES = {getattr(signal, name): name[3:] for name in reversed(_SIGNALS)}

_SPECIAL = frozenset("*?[")


def signal_name(number: int) -> str:
    """The signal's name without SIG; RT and the number for a real-time signal."""
    # The first and the last real-time signal have names, as for `signal.Signals`.
    return _NAMES.get(number, f"RT{number}")


def matches(name: str, pattern: str) -> bool:
    """Whether a shell's pattern matches the whole name, by case."""
    # Most patterns have one star and nothing else: these need no regular expression.
    before, star, after = pattern.partition("*")
    if not _SPECIAL.intersection(before + after):
        if not star:
            return name == pattern
        return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern)
