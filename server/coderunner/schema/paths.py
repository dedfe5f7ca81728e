"""The rule for paths in a workspace. Symbolic links are the agent's concern: it opens files without
following any (agent/owner.py)."""

from __future__ import annotations

import unicodedata

from coderunner.errors import BadPath

MAX_PATH_BYTES = 1024
MAX_COMPONENT_BYTES = 255  # NAME_MAX of Linux's file systems
MAX_DEPTH = 32

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of text:
with them a file's name can be displayed as a different one."""


def check_path(path: str) -> str:
    """Checks a path, and returns it unchanged. Raises BadPath, whose message says what to change."""
    # Escaped and shortened, as the path is part of messages and logs.
    shown = ascii(path if len(path) <= 60 else path[:57] + "...")
    if not path:
        raise BadPath("a path is empty; give the file a name")
    for character in path:
        category = unicodedata.category(character)  # control, surrogate, line and paragraph separator
        if character in _BIDI or category in ("Cc", "Cs", "Zl", "Zp"):
            raise BadPath(
                f"the path {shown} holds the character U+{ord(character):04X}; remove control characters,"
                " text-direction marks and broken characters"
            )
    if path.startswith("/"):
        raise BadPath(f"the path {shown} is absolute; remove the leading /")
    if "\\" in path:  # valid on Linux, but a separator where the files come from or are unpacked again
        raise BadPath(f"the path {shown} holds a backslash; separate folders with /")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise BadPath(f"the path {shown} is too long; use at most {MAX_PATH_BYTES} bytes")
    components = path.split("/")
    if len(components) > MAX_DEPTH:
        raise BadPath(f"the path {shown} is too deep; use at most {MAX_DEPTH} levels")
    # `..` would leave the workspace; `.` and empty parts would let two spellings name one file.
    for component in components:
        if component in ("", ".", ".."):
            what = f"the component {component!r}" if component else "an empty component"
            raise BadPath(f"the path {shown} has {what}; write it without")
        if len(component.encode()) > MAX_COMPONENT_BYTES:
            raise BadPath(f"a name in {shown} is too long; use at most {MAX_COMPONENT_BYTES} bytes a name")
    return path
