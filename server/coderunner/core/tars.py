"""Tar archives of strangers, read strictly: header by header, nothing taken on trust, a piece at a time.

Python's own reader is made for archives of friends: it holds extended headers of any size, and follows what
they say about sparse files and links.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from coderunner.core.members import PIECE, Member
from coderunner.errors import BadArchive

BLOCK = 512
MAX_EXTENDED = 64 * 1024  # of a long name or a pax header
MAX_GZIP_MEMBERS = 4096
_FILE, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _SPARSE = b"L", b"K", b"x", b"g", b"S"
Read = Callable[[int], bytes]
"""Answers as many of the next bytes as are asked for, fewer only at the end."""


def tar_members(read: Read) -> Iterator[Member]:
    """Each member's content must be taken before the next; what is not taken is passed over.

    Raises BadArchive.
    """
    name: str | None = None
    size: int | None = None
    while True:
        header = read(BLOCK)
        if not header.strip(b"\0"):
            _nothing_behind(read)
            return  # the end, with or without its two empty blocks
        _check(header)
        kind = header[156:157]
        stored = _number(header[124:136])
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            extended = _extended(read, stored)
            if kind == _LONG_NAME:
                name = _text(extended.split(b"\0")[0])
            elif kind == _PAX:
                pax = _pax(extended)
                if any(key.startswith(b"GNU.sparse") for key in pax):
                    raise BadArchive("the tar holds a sparse file; pack it without --sparse")
                name = _text(pax[b"path"]) if b"path" in pax else name
                size = _decimal(pax[b"size"]) if b"size" in pax else size
            continue
        if kind == _SPARSE:
            raise BadArchive("the tar holds a sparse file; pack it without --sparse")
        length = stored if size is None else size
        if kind not in _FILE:
            length = 0 if kind == _FOLDER else length
        content = _Content(read, length)
        path = _name(header) if name is None else name
        file = kind in _FILE and not path.endswith("/")
        yield Member(
            path=path,
            size=length if file else 0,
            folder=kind == _FOLDER or (kind in _FILE and not file),
            plain=kind in _FILE or kind == _FOLDER,
            executable=bool(_number(header[100:108]) & 0o100),
            content=iter(content) if file else iter(()),
        )
        content.skip()
        name = size = None


def _nothing_behind(read: Read) -> None:
    """Two archives in a row look like one, and the second would be lost without a word."""
    while more := read(PIECE):
        if more.strip(b"\0"):
            raise BadArchive("there is data behind the end of the tar; send two archives one after the other")


class _Content:
    """A member's bytes, padded to whole blocks; the rest is passed over by ``skip``."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._left = size
        self._padding = -size % BLOCK

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            data = self._read(min(self._left, PIECE))
            if not data:
                raise BadArchive("the tar ends in the middle of a file")
            self._left -= len(data)
            yield data

    def skip(self) -> None:
        for _ in self:
            pass
        self._read(self._padding)


def _check(header: bytes) -> None:
    if len(header) < BLOCK:
        raise BadArchive("the tar ends in the middle of a header")
    if sum(header) - sum(header[148:156]) + 8 * 32 != _number(header[148:156]):
        raise BadArchive("this is not a tar, or it is damaged: a header's checksum does not fit")


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base 256, for what octal digits cannot hold
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise BadArchive("the tar is damaged: invalid number in a header")
    return int(digits, 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise BadArchive("the tar is damaged: invalid number in a header")
    return int(digits)


def _extended(read: Read, size: int) -> bytes:
    if size > MAX_EXTENDED:
        raise BadArchive(f"the tar holds a header of {size} bytes; at most {MAX_EXTENDED} are read")
    data = read(size)
    if len(data) < size:
        raise BadArchive("the tar ends in the middle of a header")
    read(-size % BLOCK)
    return data


def _pax(data: bytes) -> dict[bytes, bytes]:
    """Records of the form "<length> <key>=<value>\\n", each length counting its whole record."""
    found = {}
    while data:
        digits, _, _ = data[:20].partition(b" ")
        length = _decimal(digits)
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n") or len(data) < length:
            raise BadArchive("the tar is damaged: an extended header cannot be read")
        found[key] = value[:-1]
        data = data[length:]
    return found


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadArchive(f"the tar holds a name that is not UTF-8: {name[:60]!a}") from None


class Gunzip:
    """`read` of what a gzip file holds, at most `most` bytes of it in all; no more than is asked for is
    unpacked. Raises BadArchive."""

    def __init__(self, read: Read, most: int) -> None:
        self._source = read
        self._left = most
        self._unpacker = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._ended = False
        self._members = 1

    def _another(self) -> bool:
        """A gzip may have several members, one behind the other, and zeros behind the last."""
        rest = self._unpacker.unused_data.lstrip(b"\0")
        while not rest and (more := self._source(PIECE)):
            rest = more.lstrip(b"\0")
        self._ended = not rest
        if rest:
            self._members += 1
            if self._members > MAX_GZIP_MEMBERS:
                raise BadArchive(f"the gzip has more than {MAX_GZIP_MEMBERS} members")
            self._unpacker = zlib.decompressobj(wbits=31)
            self._waiting = rest
        return not self._ended

    def read(self, size: int) -> bytes:
        """At most ``size`` unpacked bytes. Raises BadArchive."""
        found = bytearray()
        while len(found) < size and not self._ended:
            if self._unpacker.eof and not self._another():
                break
            packed = self._unpacker.unconsumed_tail or self._waiting or self._source(PIECE)
            self._waiting = b""
            try:
                data = self._unpacker.decompress(packed, size - len(found))
            except zlib.error:
                raise BadArchive("the gzip is damaged") from None
            if not packed and not data:
                raise BadArchive("the gzip ends too early")
            found += data
            self._left -= len(data)
            if self._left < 0:
                raise BadArchive("the archive unpacks to more than fits into the workspace")
        return bytes(found)
