"""Files that the command line stores for its user: the server to use with its key, and the sessions that it
began. Only their owner may read them, as they contain keys and tokens."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from coderunner.schema.types import Id, Secret

MAX_FILE = 64 * 1024  # bytes that are read of a file
# A file of a session that ended elsewhere may stay; so the folder can grow.
MAX_SESSIONS = 1000  # that are looked at
Address = Annotated[str, Meta(max_length=2048)]
K = TypeVar("K", bound=Struct)


class Login(Struct, frozen=True):
    """The server to use where no other one is named. `bearer`: the key or token; "" for none."""

    url: Address
    bearer: Annotated[str, Meta(max_length=8192)] = ""


class Kept(Struct, frozen=True):
    """A session that a command began: its id and token, its server and language."""

    session: Id
    token: Secret
    url: Address
    language: Annotated[str, Meta(max_length=64)] = ""


class Store:
    """The stored files. `environment`: names their folders, by XDG_CONFIG_HOME, XDG_STATE_HOME and HOME."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        home = Path(environment.get("HOME") or "/")
        config = environment.get("XDG_CONFIG_HOME") or home / ".config"
        state = environment.get("XDG_STATE_HOME") or home / ".local/state"
        self.login_file = Path(config) / "coderunner/login.json"
        self._sessions = Path(state) / "coderunner/sessions"

    # --- the server --------------------------------------------------------------------------------------

    def login(self) -> Login | None:
        """The server that was chosen; None if none was. Raises OSError, ValueError for a damaged file."""
        return _read(self.login_file, Login)

    def log_in(self, login: Login) -> None:
        """Stores a server and its key. Raises OSError."""
        _write(self.login_file, login)

    def log_out(self) -> None:
        """Removes them. Raises OSError."""
        self.login_file.unlink(missing_ok=True)

    # --- sessions ----------------------------------------------------------------------------------------

    def keep(self, kept: Kept) -> None:
        """Stores a session. Does nothing where that is not possible, as the session works without it."""
        with contextlib.suppress(OSError):
            _write(self._sessions / f"{kept.session}.json", kept)

    def forget(self, session: str) -> None:
        """Removes a session that has ended."""
        with contextlib.suppress(OSError):
            (self._sessions / f"{session}.json").unlink(missing_ok=True)

    def find(self, name: str) -> Kept | None:
        """The session whose id begins with `name`; None if there is none, or more than one."""
        found = [one for one in self._all() if one.session.startswith(name)]
        # A whole id counts even where it is the beginning of another one.
        exact = [one for one in found if one.session == name]
        return exact[0] if exact else found[0] if len(found) == 1 and name else None

    def _all(self) -> list[Kept]:
        """The stored sessions; files that cannot be read are left out."""
        found: list[Kept] = []
        with contextlib.suppress(OSError):
            for path in sorted(self._sessions.glob("*.json"))[:MAX_SESSIONS]:
                with contextlib.suppress(OSError, ValueError):
                    kept = _read(path, Kept)
                    if kept is not None:
                        found.append(kept)
        return found


def _read(path: Path, kind: type[K]) -> K | None:
    """Reads a file; None if there is none. Raises OSError, and ValueError for a damaged file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE)
    except FileNotFoundError:
        return None
    return msgspec.json.decode(data, type=kind)


def _write(path: Path, document: Struct) -> None:
    """Replaces a file atomically. From its creation on only its owner can read it."""
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # with the mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(document) + b"\n")
        # Atomic, so that two commands at the same time leave one whole file.
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
