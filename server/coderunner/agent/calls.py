"""The operations that the server can call.

All may be repeated without harm, except `signal`.  Each ``_op_`` method gets the call's JSON and the raw
bytes behind it, and returns (JSON, bytes), None for an empty answer, or LATER.
"""

from __future__ import annotations

import os
import time

from . import files, folders, snapshot, workspace
from .programs import CallError

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from coderunner.wire import typed

    from .companions import Companions
    from .link import Link
    from .programs import Programs
    from .workspace import Workspace

    Answer = tuple[Mapping[str, object], bytes]

LATER = object()  # the answer is sent when the work is done


class Calls:
    """Carries out the server's calls.

    ``sealed``: the server's record of this session; kept as it is, and sent to each server that attaches."""

    def __init__(self, link: Link, programs: Programs, files_of: Workspace, companions: Companions) -> None:
        self.sealed: Any = None
        self._link = link
        self._programs = programs
        self._workspace = files_of
        self._companions = companions

    def handle(self, body: dict[str, Any], raw: bytes) -> None:
        """Carries out one call, and answers it if it has an ``id``.  ``raw``: the bytes behind its JSON."""
        reply: dict[str, object] = {}
        data = b""
        try:
            # Only the server calls, on a stream that no program can write to. An unknown operation is the
            # AttributeError below.
            answer = getattr(self, "_op_" + str(body.get("op")))(body, raw)
            if answer is LATER:
                return
            if answer is not None:
                given, data = answer
                reply = dict(given)
        except (CallError, files.FilesError) as error:
            reply = {"error": {"code": error.code, "message": str(error)}}
        except snapshot.TooMuch as error:
            reply = {"error": {"code": "file_too_large", "message": str(error)}}
        except snapshot.StillAlive as error:
            reply = {"error": {"code": "files_busy", "message": str(error)}}
        except OSError as error:
            reply = {"error": {"code": "start_failed", "message": str(error)}}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A malformed call must not end PID 1, and the session with it.
            reply = {"error": {"code": "internal", "message": f"{body.get('op')}: {error!r}"}}
        if body.get("op") == "run":
            # Also after a failure: the server drops every channel that is not in this list.
            reply["channels"] = list(self._programs.channels)
        if body.get("id") is not None:
            self._link.reply(body["id"], reply, data)

    # --- the session -------------------------------------------------------------------------------

    def _op_seal(self, body: typed.Seal, raw: bytes) -> None:
        """Keeps the server's sealed record; None forgets it, so that no server adopts this container."""
        self.sealed = body["record"]

    def _op_quit(self, body: typed.Quit, raw: bytes) -> None:
        """Ends PID 1, with which the kernel ends all processes of the container."""
        os._exit(0)

    def _op_prepare(self, body: Any, raw: bytes) -> object:
        """Starts the language's service and preload.  Answered when they are ready, or have failed to be."""
        self._companions.prepare(
            body["id"], body.get("service"), body.get("preload"), time.monotonic(),
            wait_for_preload=body.get("wait_for_preload", True),
        )  # fmt: skip
        return LATER

    # --- programs ----------------------------------------------------------------------------------

    def _op_run(self, body: typed.Run, raw: bytes) -> Answer:
        """Writes the files of ``raw`` and starts a program.  A known channel number starts nothing."""
        number = body["channel"]
        # The server repeats a call after a break of the stream, as it cannot know whether the first one
        # arrived.
        if number in self._programs.channels:
            return {"state": self._programs.channels[number].state(), "existed": True}, b""
        self._programs.check(number)
        self._programs.make_room(self._workspace.forget)
        restored = bool(body["spec"].get("restored"))
        if restored:
            if self._programs.live():
                raise CallError("channels_busy", "another program runs; let it end first")
            self._workspace.restore()
        self._workspace.before()
        # The files first: if they cannot be written, no program starts.
        self._workspace.put(body.get("files", ()), raw)
        # An unchanged file is not sent again, so it may be unreadable.
        files.make_readable(body["spec"]["entry"])
        source = workspace.standard_input(body["spec"])
        # A restored program starts in a new interpreter: all processes were ended, the preload among them.
        channel = self._programs.begin(body, source, None if restored else self._companions.preload)
        self._workspace.began(number)
        return {"state": channel.state(), "existed": False}, b""

    def _op_resize(self, body: typed.Resize, raw: bytes) -> None:
        self._programs.named(body).resize(body["cols"], body["rows"])

    def _op_repaint(self, body: typed.Repaint, raw: bytes) -> None:
        self._programs.named(body).repaint()

    def _op_signal(self, body: typed.Signal, raw: bytes) -> Answer:
        # Not repeatable, so the server sends it once, and not again after a break of the stream.
        return {"delivered": self._programs.named(body).signal(body["name"])}, b""

    def _op_eof(self, body: typed.Eof, raw: bytes) -> None:
        self._programs.named(body).accept_eof(body["offset"])

    def _op_kill(self, body: typed.Kill, raw: bytes) -> None:
        self._programs.named(body).stop(body["intent"])

    def _op_fetch(self, body: typed.Fetch, raw: bytes) -> Answer:
        """Output that the server has dropped from its cache.  The answer's ``from`` is where it begins."""
        channel = self._programs.named(body)
        begin = max(body["offset"], channel.journal.start)
        reply: typed.Fetched = {"from": begin}
        if begin > body["offset"] and channel.tty:
            # What was dropped may have changed modes of the terminal, on which the rest of the output
            # depends.
            reply["restore"] = channel.modes.restore()
        stream, data = channel.journal.read(min(begin, channel.journal.end), body["limit"])
        reply["stream"] = stream
        return reply, data

    def _op_keep(self, body: typed.Keep, raw: bytes) -> None:
        """Snapshots the workspace, from which `restored` programs start, one at a time."""
        # Restoring ends every process, so a preload would be started for each program in vain.
        self._companions.retire(time.monotonic())
        self._workspace.keep()

    # --- files -------------------------------------------------------------------------------------

    def _op_files(self, body: typed.Files, raw: bytes) -> None:
        self._workspace.put(body["files"], raw)

    def _op_read(self, body: typed.Read, raw: bytes) -> Answer:
        data, status = files.read(body["path"], body["offset"], body["limit"])
        return {"size": status.st_size, "inode": status.st_ino}, data

    def _op_check(self, body: typed.Check, raw: bytes) -> Answer:
        crc, status = files.check(body["path"], body["offset"], body["limit"], body["crc"])
        return {"crc": crc, "inode": status.st_ino}, b""

    def _op_list(self, body: typed.List, raw: bytes) -> Answer:
        entries, cursor = folders.listing(body.get("after"), body["limit"])
        return {"files": entries, "next": cursor}, b""

    def _op_put(self, body: typed.Put, raw: bytes) -> Answer:
        return {"size": self._workspace.put_piece(body, raw)}, b""

    def _op_drop(self, body: typed.Drop, raw: bytes) -> None:
        self._workspace.drop(body["upload"])

    def _op_rename(self, body: typed.Rename, raw: bytes) -> None:
        self._workspace.rename(body["path"], body["to"])

    def _op_remove(self, body: typed.Remove, raw: bytes) -> Answer:
        count, more = folders.remove(body["path"], body["limit"])
        return {"removed": count, "more": more}, b""

    def _op_folder(self, body: typed.Folder, raw: bytes) -> None:
        files.make_folder(body["path"])
