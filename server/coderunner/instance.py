"""One server for each instance name on a machine: its lock, and its secret."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from coderunner.errors import ConfigError

KEY_BYTES = 32


@contextlib.contextmanager
def instance(state_dir: Path, name: str) -> Iterator[bytes]:
    """Holds the instance's lock; the value is its key, made at the first start.

    Two servers of one name would adopt each other's sessions.  Raises ConfigError.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(state_dir / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        problem = f"STATE_DIR: {state_dir} cannot be used ({error}); choose another folder"
        raise ConfigError([problem]) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                [f"INSTANCE_NAME: a server named {name!r} runs already; stop it, or choose another name"]
            ) from None
        yield _key(state_dir / f"{name}.key")
    finally:
        os.close(lock)


def _key(path: Path) -> bytes:
    """Without the old key no session of the server before could be adopted."""
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == KEY_BYTES:
            return key
    key = secrets.token_bytes(KEY_BYTES)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, key)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    return key
