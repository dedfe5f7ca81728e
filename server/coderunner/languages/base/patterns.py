"""Regular expressions of the languages' commands, compiled when the image was made (`install-command`).

A command of a compile line is an interpreter of its own for each run. To import `re` takes as long as to
start it, and to compile a dozen patterns as long again. `_sre`, which matches, takes a compiled pattern as it
is.
"""

import _sre
import marshal

IGNORECASE, MULTILINE, DOTALL = 2, 8, 16  # as `re` has them
FILE = __file__.rpartition("/")[0] + "/patterns.marshal"
_made = None  # what FILE has: {(pattern, flags): the arguments of `_sre.compile`}


def _read():
    try:
        with open(FILE, "rb") as file:
            magic, made = marshal.load(file)
    except (OSError, ValueError, EOFError, TypeError):
        return {}
    return made if magic == _sre.MAGIC else {}  # otherwise it is of another version of Python


def compiled(pattern, flags=0):
    """As `re.compile(pattern, flags)`, which it is for a pattern that no image was made with."""
    global _made
    if _made is None:
        _made = _read()
    found = _made.get((pattern, flags))
    if found is None:
        import re

        return re.compile(pattern, flags)
    return _sre.compile(*found)
