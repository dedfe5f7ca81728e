"""The audit log: who did what, from where, and what was refused.

One for the process, which is one server, as the metrics are. `note` never waits and never fails: the row goes
into the database's queue. Texts from outside are escaped and cut, so that no name can forge a line of an
export. Of what one caller can repeat at will, only so many are written in a minute; the rest are counted, and
their number is written.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from coderunner import logs
from coderunner.core.folding import Folding

MAX_TEXT = 256  # characters of a text; more are cut
MAX_PROGRAM = 16 * 1024  # characters of a program's text, where it is asked for
MAX_DETAILS = 24 * 1024  # bytes of an event's details as JSON
# Callers can have many addresses (IPv6), so a bound for each is not enough.
TOGETHER = 600  # events of one kind in a minute, from all callers
EACH = {
    "refused": 10, "attached": 30, "watched": 30, "took over": 30, "handed back": 30, "told": 30,
    "collected": 30, "ran": 300,
}  # fmt: skip
"""How many events of a kind are written in a minute for one caller or session. Others are bounded by what
they need, such as a slot."""
COLUMNS = ("principal", "address", "session", "language", "request")


class Audit:
    """Writes events. `post(table, row)`: as of `Store`. `instance`: INSTANCE_NAME. `programs`: whether events
    have the text of programs. `clock`: seconds since 1970."""

    def __init__(
        self,
        post: Callable[[str, Mapping[str, Any]], object],
        instance: str,
        *,
        programs: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.programs = programs
        self._post = post
        self._instance = instance
        self._clock = clock
        # Those of teachers apart: nobody must be able to hide that a session was watched or taken over by
        # repeating other events.
        self._folds = {
            (event, teacher): Folding(each, TOGETHER)
            for event, each in EACH.items()
            for teacher in (False, True)
        }

    def note(self, event: str, details: Mapping[str, Any], **columns: str | None) -> None:
        """Writes an event, or counts it. `columns`: of COLUMNS."""
        teacher = "room" in details
        fold = self._folds.get((event, teacher))
        # A refused request may name any session: that would give a caller as many keys as it likes.
        session = columns.get("session") if event != "refused" else None
        person = columns.get("principal") or columns.get("address")
        key = (person if teacher else session or person, details.get("code"), session if teacher else None)
        if fold is None or fold.tell(key, self._clock()):
            self._write(event, details, columns)

    async def tell_counted(self, *, all: bool = False) -> None:
        """Writes the numbers of events that were only counted, after their minute; `all`: in any case."""
        for (event, _), fold in self._folds.items():
            for key, count in fold.over(self._clock(), all=all):
                whose, code, session = key if isinstance(key, tuple) else (None, None, None)
                details = {"count": count, "of": event, "by": whose or "others"}
                self._write("more", details | ({"code": code} if code else {}), {"session": session})

    def _write(self, event: str, details: Mapping[str, Any], columns: Mapping[str, str | None]) -> None:
        cleaned = _cleaned(details)
        text = orjson.dumps(cleaned, default=str)
        if len(text) > MAX_DETAILS and isinstance(cleaned.get("text"), str):
            # A character takes up to six bytes of JSON; the rest of the event is worth more than the text.
            text = orjson.dumps({**cleaned, "text": cleaned["text"][: MAX_DETAILS // 8]}, default=str)
        if len(text) > MAX_DETAILS:
            text = orjson.dumps({"cut": len(text)})
        row = {name: clean(value) if (value := columns.get(name)) else None for name in COLUMNS}
        row["address"] = row["address"] and row["address"][:64]
        for name in ("session", "language", "request"):
            row[name] = (value := row[name]) and value[:64]
        self._post(
            "audit",
            {
                # Chosen here, so that a row that is written twice is recognized.
                "event_id": secrets.token_hex(16),
                "at": self._clock(),
                "instance": self._instance[:64],
                "event": event,
                **row,
                "details": text.decode(),
            },
        )


def clean(text: str, maximum: int = MAX_TEXT) -> str:
    """A text from outside, cut to `maximum` characters, with all characters escaped that are not printable:
    line breaks, other control characters, marks that change the direction of what follows."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:maximum]
    )
    return shown[:maximum]


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {
            clean(str(name)): _program(one) if name == "text" else _cleaned(one)
            for name, one in value.items()
        }
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_cleaned(one) for one in value]
    return value


def _program(value: Any) -> Any:
    # JSON escapes its line breaks; it is exported as JSON or in quotes.
    return value[:MAX_PROGRAM].encode("utf-8", "replace").decode() if isinstance(value, str) else value


_audit: Audit | None = None


def use(audit: Audit | None) -> None:
    """Sets where `note` writes; None: nowhere, as before the server has started."""
    global _audit  # one for the process, as the metrics are
    _audit = audit


def note(
    event: str,
    *,
    principal: str | None = None,
    address: str | None = None,
    session: str | None = None,
    language: str | None = None,
    **details: Any,
) -> None:
    """Notes an event. The request's id is that of the context (`logs`)."""
    if _audit is not None:
        _audit.note(
            event, details, principal=principal, address=address, session=session, language=language,
            request=logs.context().get("request"),
        )  # fmt: skip


def program(files: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """The details of an event about a program's files. `files`: pairs of path and content. Returns their
    number, bytes, and a hash over paths and contents; with AUDIT_PROGRAMS the first one's text. Empty without
    files."""
    whole, size, count, first = hashlib.sha256(), 0, 0, b""
    # Sorted, and with lengths in the hash: one program has one hash, and no two have the same input to it.
    for path, content in sorted(files):
        told = path.encode("utf-8", "surrogatepass")
        whole.update(b"%d %d " % (len(told), len(content)) + told)
        whole.update(content)
        size, count, first = size + len(content), count + 1, first or content
    if not count:
        return {}
    found: dict[str, Any] = {"files": count, "bytes": size, "sha256": whole.hexdigest()}
    if _audit is not None and _audit.programs:
        found["text"] = first[: 4 * MAX_PROGRAM].decode("utf-8", "replace")[:MAX_PROGRAM]
    return found
