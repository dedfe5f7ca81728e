"""A strict, streaming reader for tar archives from untrusted clients.

`tarfile` is not used because it reads extended headers of any size into memory and interprets sparse files
and links as the archive says; docs/architecture.md has the measurements.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from coderunner.core.members import PIECE, Member
from coderunner.errors import BadArchive

BLOCK = 512  # bytes; headers have this size, and contents are padded to it
MAX_EXTENDED = 64 * 1024  # bytes of a long name or a pax header; a path has at most 1,024
MAX_GZIP_MEMBERS = 4096  # parallel compressors write many; each costs a new decompressor
# Types of headers (POSIX ustar and pax, GNU). "7" is a contiguous file, which is read as a plain one.
_FILE, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _SPARSE = b"L", b"K", b"x", b"g", b"S"
Read = Callable[[int], bytes]
"""Returns the requested number of the next bytes, fewer only at the end."""


def tar_members(read: Read) -> Iterator[Member]:
    """Yields the members of a tar. Content that the caller does not read before the next member is skipped.

    Raises BadArchive, also from reading a member's content.
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
        length = stored if size is None else size  # a pax header's size replaces the header's own
        if kind not in _FILE:
            length = 0 if kind == _FOLDER else length
        content = _Content(read, length)
        path = _name(header) if name is None else name
        file = kind in _FILE and not path.endswith("/")  # before POSIX, folders had only the slash
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
    """Raises BadArchive if data follows the tar's end, as a second archive would be ignored silently."""
    while more := read(PIECE):
        if more.strip(b"\0"):
            raise BadArchive("there is data behind the end of the tar; send two archives one after the other")


class _Content:
    """Iterates over a member's content. `skip` reads past the rest of it and its padding."""

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
    # The checksum is computed with its own field filled with spaces.
    if sum(header) - sum(header[148:156]) + 8 * 32 != _number(header[148:156]):
        raise BadArchive("this is not a tar, or it is damaged: a header's checksum does not fit")


def _number(field: bytes) -> int:
    """A number of a header. Raises BadArchive."""
    if field[0] & 0x80:  # GNU's base 256, for numbers that do not fit into octal digits
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    digits = field.split(b"\0")[0].strip()  # ended by NUL or space, padded with spaces by some programs
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise BadArchive("the tar is damaged: invalid number in a header")
    return int(digits, 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 18:  # 18 digits fit into 64 bits; int() of many is slow
        raise BadArchive("the tar is damaged: invalid number in a header")
    return int(digits)


def _extended(read: Read, size: int) -> bytes:
    """Reads an extended header of `size` bytes and its padding. Raises BadArchive."""
    if size > MAX_EXTENDED:
        raise BadArchive(f"the tar holds a header of {size} bytes; at most {MAX_EXTENDED} are read")
    data = read(size)
    if len(data) < size:
        raise BadArchive("the tar ends in the middle of a header")
    read(-size % BLOCK)
    return data


def _pax(data: bytes) -> dict[bytes, bytes]:
    """Parses a pax header: records "<length> <key>=<value>\\n", where the length counts the whole record."""
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
    # GNU's own format uses the bytes of the prefix for other fields; its magic is "ustar " with a space.
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadArchive(f"the tar holds a name that is not UTF-8: {name[:60]!a}") from None


class Gunzip:
    """A decompressor with a `read` method. It unpacks no more than is requested, and at most `maximum` bytes
    in all, so that a small file that expands enormously costs neither memory nor time."""

    def __init__(self, read: Read, maximum: int) -> None:
        self._source = read
        self._left = maximum
        self._unpacker = zlib.decompressobj(wbits=31)  # 16 for a gzip header, 15 for the largest window
        self._waiting = b""  # the beginning of the next gzip member
        self._ended = False
        self._members = 1

    def _another(self) -> bool:
        """Starts the next gzip member. Returns False at the end: a file may have several members, followed by
        zero bytes as padding."""
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
        """Returns the next `size` unpacked bytes, fewer only at the end. Raises BadArchive if the data is
        damaged or exceeds the bound."""
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
            # No input and no output: the file is truncated. Without this check the loop would never end.
            if not packed and not data:
                raise BadArchive("the gzip ends too early")
            found += data
            self._left -= len(data)
            if self._left < 0:
                raise BadArchive("the archive unpacks to more than fits into the workspace")
        return bytes(found)
