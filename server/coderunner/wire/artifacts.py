"""Files of a program that people want to see beside its output: which they are, and who made them."""

from __future__ import annotations

# Ending -> what it is served as.
KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".svg": "image/svg+xml",
    ".csv": "text/csv",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
}
MAX_PER_CHANNEL = 64  # of a channel
MAX_PATH = 512  # bytes; what has a longer one is not announced


def kind(path: str) -> str | None:
    """The type that a file's name promises, or None: no artifact."""
    dot = path.rfind(".")
    return KINDS.get(path[dot:].lower()) if dot >= 0 else None
