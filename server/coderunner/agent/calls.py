"""What the server asks of the agent: an operation each.

All of them may be repeated.  They answer (JSON, bytes), None for an empty answer, or LATER.
"""

from __future__ import annotations

import time

from . import files, folders, snapshot, workspace
from .programs import CallError

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

    from .companions import Companions
    from .link import Link
    from .programs import Programs
    from .workspace import Workspace

LATER = object()  # answered when what it began is done


class Calls:
    """``sealed``: the server's record of this session, returned to whoever attaches."""

    def __init__(self, link: Link, programs: Programs, files_of: Workspace, companions: Companions) -> None:
        self.sealed: Any = None
        self._link = link
        self._programs = programs
        self._workspace = files_of
        self._companions = companions

    def take(self, body: dict[str, Any], raw: bytes) -> None:
        """Carries out one call of the server, and answers it. ``raw``: the bytes behind its JSON."""
        reply: dict[str, Any] = {}
        data = b""
        try:
            answer = getattr(self, "_op_" + str(body.get("op")))(body, raw)
            if answer is LATER:
                return
            if answer is not None:
                reply, data = answer
        except (CallError, files.FilesError) as error:
            reply = {"error": {"code": error.code, "message": str(error)}}
        except snapshot.TooMuch as error:
            reply = {"error": {"code": "file_too_large", "message": str(error)}}
        except snapshot.StillAlive as error:
            reply = {"error": {"code": "files_busy", "message": str(error)}}
        except OSError as error:
            reply = {"error": {"code": "start_failed", "message": str(error)}}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A call that we do not understand must not end PID 1, and the session with it.
            reply = {"error": {"code": "internal", "message": f"{body.get('op')}: {error!r}"}}
        if body.get("op") == "run":
            # Whatever came of it: the server drops every channel that is not among these.
            reply["channels"] = list(self._programs.channels)
        if body.get("id") is not None:
            self._link.reply(body["id"], reply, data)

    # --- the session -------------------------------------------------------------------------------

    def _op_seal(self, body: dict[str, Any], raw: bytes) -> None:
        self.sealed = body["record"]

    def _op_prepare(self, body: dict[str, Any], raw: bytes) -> object:
        """Before the user comes.  Answered when both are ready, or have not become so in their time."""
        self._companions.prepare(
            body["id"], body.get("service"), body.get("preload"), time.monotonic(),
            patient=body.get("patient", True),
        )  # fmt: skip
        return LATER

    # --- programs ----------------------------------------------------------------------------------

    def _op_run(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        number = body["channel"]
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
        self._workspace.put(body.get("files", ()), raw)
        files.mend(body["spec"]["entry"])  # it is not sent again as long as it has not changed
        source = workspace.standard_input(body["spec"])
        channel = self._programs.begin(body, source, None if restored else self._companions.preload)
        self._workspace.began(number)
        return {"state": channel.state(), "existed": False}, b""

    def _op_resize(self, body: dict[str, Any], raw: bytes) -> None:
        self._programs.of(body).resize(body["cols"], body["rows"])

    def _op_repaint(self, body: dict[str, Any], raw: bytes) -> None:
        self._programs.of(body).repaint()

    def _op_signal(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        # At most once: the server sends it once, and does not repeat it after a break.
        return {"delivered": self._programs.of(body).signal(body["name"])}, b""

    def _op_eof(self, body: dict[str, Any], raw: bytes) -> None:
        self._programs.of(body).accept_eof(body["offset"])

    def _op_kill(self, body: dict[str, Any], raw: bytes) -> None:
        self._programs.of(body).stop(body["intent"])

    def _op_fetch(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        """Output from the journal that the server holds no more; ``from`` is where it begins."""
        channel = self._programs.of(body)
        begin = max(body["offset"], channel.journal.start)
        reply = {"from": begin, "lo": channel.journal.start}
        if begin > body["offset"] and channel.tty:
            reply["restore"] = channel.modes.restore()
        stream, data = channel.journal.read(min(begin, channel.journal.end), body["most"])
        reply["stream"] = stream
        return reply, data

    def _op_keep(self, body: dict[str, Any], raw: bytes) -> None:
        """Keeps the workspace as it is: programs that are to be `restored` begin from it, one at a time."""
        self._companions.retire(time.monotonic())
        self._workspace.keep()

    # --- files -------------------------------------------------------------------------------------

    def _op_files(self, body: dict[str, Any], raw: bytes) -> None:
        self._workspace.put(body["files"], raw)

    def _op_read(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        data, status = files.read(body["path"], body["offset"], body["most"])
        return {"size": status.st_size, "inode": status.st_ino}, data

    def _op_check(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        crc, status = files.check(body["path"], body["offset"], body["most"], body["crc"])
        return {"crc": crc, "inode": status.st_ino}, b""

    def _op_list(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        entries, cursor = folders.listing(body.get("after"), body["most"])
        return {"files": entries, "next": cursor}, b""

    def _op_put(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        return {"size": self._workspace.put_piece(body, raw)}, b""

    def _op_drop(self, body: dict[str, Any], raw: bytes) -> None:
        self._workspace.drop(body["upload"])

    def _op_rename(self, body: dict[str, Any], raw: bytes) -> None:
        self._workspace.rename(body["path"], body["to"])

    def _op_remove(self, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        count, more = folders.remove(body["path"], body["most"])
        return {"removed": count, "more": more}, b""

    def _op_folder(self, body: dict[str, Any], raw: bytes) -> None:
        files.make_folder(body["path"])
