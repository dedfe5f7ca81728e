"""Ensures one server for each instance name and STATE_DIR on a machine (a lock), and keeps its secret key."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from coderunner.errors import CannotStart

KEY_BYTES = 32


@contextlib.contextmanager
def instance(state_dir: Path, name: str) -> Iterator[bytes]:
    """Holds the instance's lock. Yields its key, which is created at the first start.

    Without the lock, two servers of one name would adopt each other's sessions. Raises CannotStart if another
    process holds the lock, or the folder cannot be used: missing permission, a full or read-only disk.
    """
    with contextlib.ExitStack() as stack:
        with usable(state_dir):
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The file stays after the end: removing it would let two servers lock two files of one name.
            lock = _opened(lock_of(state_dir, name), os.O_RDWR | os.O_CREAT)
            stack.callback(os.close, lock)
            try:
                # flock(2): the kernel releases it when the process ends, however it ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(
                    f"a server named {name!r} is already running with STATE_DIR {state_dir}; stop it, take"
                    " its place with `serve --replace`, or change INSTANCE_NAME and STATE_DIR of this one"
                ) from None
            # Which process has it, for `serve --replace`.
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            key = _key(state_dir / f"{name}.key")
        yield key


def lock_of(state_dir: Path, name: str) -> Path:
    """The file whose lock a running server holds, with the number of its process."""
    return state_dir / f"{name}.lock"


@contextlib.contextmanager
def usable(state_dir: Path) -> Iterator[None]:
    """Raises CannotStart, which names the folder and the reason, for an OSError of what is done in it."""
    try:
        yield
    except OSError as error:
        why = _where(error, state_dir) + (error.strerror or str(error))
        raise CannotStart(
            f"STATE_DIR {state_dir} cannot be used ({why}); check that its disk has free space and this user"
            " may write there, or choose another folder"
        ) from None


def _where(error: OSError, state_dir: Path) -> str:
    """What in the folder an error is about, for a message; "" if it is about the folder itself."""
    place = error.filename if isinstance(error.filename, str | Path) else ""
    return f"{Path(place).name}: " if place and Path(place).parent == state_dir else ""


def _opened(path: Path, flags: int) -> int:
    """Opens a file of the state folder. Raises OSError, also for anything that is no regular file: to open a
    pipe could take for ever."""
    found = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return found


def runs_of(state_dir: Path, name: str) -> Path:
    """Where the instance keeps its runs over HTTP, made if it is not there. Raises CannotStart."""
    folder = state_dir / f"{name}.runs"
    with usable(state_dir):
        folder.mkdir(exist_ok=True, mode=0o700)
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    return folder


def _reading(path: Path) -> BinaryIO:
    return os.fdopen(_opened(path, os.O_RDONLY), "rb")


def _key_in(path: Path) -> bytes:
    with _reading(path) as file:
        # One byte more shows a file that is too long.
        return file.read(KEY_BYTES + 1)


def holder_of(state_dir: Path, name: str) -> str:
    """A name for the instance that is unique on the engine: two servers may have the same INSTANCE_NAME, but
    not the same STATE_DIR as well."""
    return f"{name}-{hashlib.sha256(os.path.realpath(state_dir).encode()).hexdigest()[:8]}"


def lives(state_dir: Path, name: str) -> bool:
    """Whether a server holds the instance's lock now. Raises CannotStart if the folder cannot be used."""
    path = lock_of(state_dir, name)
    with usable(state_dir), contextlib.suppress(FileNotFoundError), _reading(path) as lock:
        try:
            # Shared: two commands that ask at the same time do not take each other for a server.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def key_of(state_dir: Path, name: str) -> bytes | None:
    """The instance's key, or None if it has none. Creates nothing. Raises CannotStart if the folder cannot
    be used."""
    with usable(state_dir), contextlib.suppress(FileNotFoundError):
        key = _key_in(state_dir / f"{name}.key")
        return key if len(key) == KEY_BYTES else None
    return None


def _key(path: Path) -> bytes:
    """Reads the key, or creates it. Without the old key, the previous server's sessions cannot be adopted."""
    with contextlib.suppress(FileNotFoundError):
        key = _key_in(path)
        if len(key) == KEY_BYTES:
            return key
    key = secrets.token_bytes(KEY_BYTES)
    # Written to another file and synced before the rename, so that a crash leaves no partial key.
    fresh = path.with_suffix(".new")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    return key
