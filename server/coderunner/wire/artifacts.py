"""Artifacts: files that a program makes and that clients show beside its output. Recognised by extension."""

from __future__ import annotations

# File extension -> the media type that it is served as.
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
MAX_PER_CHANNEL = 64  # artifacts that are announced for one channel
MAX_PATH = 512  # bytes; a file with a longer path is not announced


def kind(path: str) -> str | None:
    """The media type for the extension of ``path``; None when the file is no artifact."""
    dot = path.rfind(".")
    return KINDS.get(path[dot:].lower()) if dot >= 0 else None
