"""Models of the JSON bodies and query parameters of HTTP requests. The docstrings appear at `/api/docs`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from coderunner.schema.parts import ROLES
from coderunner.schema.types import one_of, text, whole

MAX_URLS = 64  # as many as a channel has artifacts at most
MAX_GUEST_MS = 30 * 24 * 3600 * 1000  # the most that SESSION_TTL may be: no session lasts longer
ARCHIVES = {"zip": "application/zip", "tar": "application/x-tar", "tar.gz": "application/gzip"}
"""The formats in which a workspace can be downloaded, with their media types."""

# --- bodies -----------------------------------------------------------------------------------------------


class MoveFile(Struct, frozen=True):
    """`PATCH /files/<path>`: moves the file or folder to `path`."""

    path: Annotated[str, Meta(description="a text: where it is to be moved")]


class MakeFolder(Struct, frozen=True):
    """`POST /files/<path>`: makes a folder. `folder` must be true,
    which leaves room for other kinds later."""

    folder: Annotated[bool, Meta(extra_json_schema={"const": True})]

    def __post_init__(self) -> None:
        if not self.folder:
            raise ValueError('must say what to make: {"folder": true}')


class KeepViews(Struct, frozen=True):
    """`POST /views`: keeps the URLs valid that a client still displays. With `frame`, the answer has a
    `word` that lets a frame load a page."""

    urls: Annotated[
        tuple[str, ...], Meta(max_length=MAX_URLS, description=f"a list of at most {MAX_URLS} addresses")
    ]
    frame: bool = False


class Invite(Struct, frozen=True):
    """`POST /tokens`: makes a token for a guest. `name`: who it is for. `take`: whether the guest may take
    the control without asking. `lasts_ms`: after which time it ends; null: with the session."""

    name: Annotated[str, text(100, minimum=1)]
    role: Annotated[str, one_of(ROLES)] = "watch"
    take: bool = False
    lasts_ms: Annotated[int, whole(1000, MAX_GUEST_MS)] | None = None

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            raise ValueError("name must have printable characters only")
        if self.take and self.role != "control":
            raise ValueError("take goes with the role control")


# --- queries ----------------------------------------------------------------------------------------------


class LanguagesQuery(Struct, frozen=True):
    """`GET /api/languages`. `want`: the language that the user has selected;
    if its image is missing, it is built next."""

    want: str = ""


class DownloadQuery(Struct, frozen=True):
    """`GET .../archive`. `format`: the format of the archive."""

    format: Annotated[str, one_of(tuple(ARCHIVES))] = "zip"


class UploadQuery(Struct, frozen=True):
    """`PUT .../archive`. `into`: the folder to unpack into; empty for the workspace itself."""

    into: str = ""


class ViewQuery(Struct, frozen=True):
    """`GET /view/...`. `framed`: the word that permits a frame to load a page;
    empty if it is not for a frame."""

    framed: str = ""
