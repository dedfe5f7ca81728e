"""Bodies of requests over HTTP."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

MAX_URLS = 64


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
