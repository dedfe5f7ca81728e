"""What requests over HTTP say: their bodies, which are JSON, and the parameters of their queries."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from coderunner.schema.types import one_of

MAX_URLS = 64
ARCHIVES = {"zip": "application/zip", "tar": "application/x-tar", "tar.gz": "application/gzip"}
"""The kinds of archive that a workspace is packed as, with their media types."""

# --- bodies -----------------------------------------------------------------------------------------------


class MoveFile(Struct, frozen=True):
    """`PATCH /files/<path>`: where the file or folder is to be moved."""

    path: Annotated[str, Meta(description="a text: where it is to be moved")]


class MakeFolder(Struct, frozen=True):
    """`POST /files/<path>`: a folder, and nothing else as yet."""

    folder: bool

    def __post_init__(self) -> None:
        if not self.folder:
            raise ValueError('must say what to make: {"folder": true}')


class KeepViews(Struct, frozen=True):
    """`POST /views`: addresses that are in use; with `frame` the answer has a word for a frame."""

    urls: Annotated[
        tuple[str, ...], Meta(max_length=MAX_URLS, description=f"a list of at most {MAX_URLS} addresses")
    ]
    frame: bool = False


# --- queries ----------------------------------------------------------------------------------------------


class LanguagesQuery(Struct, frozen=True):
    """`GET /api/languages`. `want`: the language that the client looks at; it is built next."""

    want: str = ""


class DownloadQuery(Struct, frozen=True):
    """`GET .../archive`: as what the workspace is packed."""

    format: Annotated[str, one_of(tuple(ARCHIVES))] = "zip"


class UploadQuery(Struct, frozen=True):
    """`PUT .../archive`. `into`: the folder into which it is unpacked; empty: the workspace itself."""

    into: str = ""


class ViewQuery(Struct, frozen=True):
    """`GET /view/...`. `framed`: the word that lets a frame ask for a page; empty: no frame asks."""

    framed: str = ""
