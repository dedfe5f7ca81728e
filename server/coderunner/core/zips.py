"""A strict reader for zip archives from untrusted clients.

It reads by the central directory, and verifies the position, size and checksum of each file against it.
`zipfile` is not used because it makes an object of every entry before their number can be checked;
docs/architecture.md has the measurements.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from coderunner.core.members import PIECE, Member
from coderunner.errors import BadArchive, TooManyFiles

# Records of the format (APPNOTE.TXT): end of central directory, its 64-bit locator and form, an entry of the
# central directory, a local file header.
_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags
_STORED, _DEFLATED = 0, 8  # methods of compression
_UNIX = 3  # the system that made the entry: its external attributes hold a file mode
_SATURATED = 0xFFFFFFFF  # the value does not fit and stands in the 64-bit extra field
MAX_EXTRA = 2048  # bytes of an entry's name, extra fields and comment together; real projects stay below


def zip_members(file: BinaryIO, *, maximum: int) -> Iterator[Member]:
    """Yields the members in the directory's order. Raises BadArchive; TooManyFiles above `maximum`
    entries."""
    size = file.seek(0, 2)
    at, length, count = _directory(file, size)
    # Before the directory is read into memory.
    if count > maximum or length > maximum * (_ENTRY.size + MAX_EXTRA):
        raise TooManyFiles(f"the archive holds {count} entries; at most {maximum} are read")
    file.seek(at)
    directory = file.read(length)
    packed = position = seen = 0
    while position + _ENTRY.size <= len(directory):
        entry, position = _Entry.read(directory, position)
        if position > len(directory):
            break  # it ends in the middle of this entry
        seen += 1
        packed += entry.packed
        # A zip bomb lets many entries share the same packed bytes; then their sum exceeds the file's size.
        if packed > size or entry.at > size:
            raise BadArchive("the zip's files overlap each other, or lie outside of it")
        yield Member(
            path=entry.name.rstrip("/"),
            size=0 if entry.folder else entry.size,
            folder=entry.folder,
            plain=entry.plain,
            executable=entry.executable,
            content=iter(()) if entry.folder else _content(file, entry),
        )
    # Without the 64-bit form, programs that write more entries than 65,535 store the rest of the division.
    if seen % 0x10000 != count % 0x10000:
        raise BadArchive(f"the zip is damaged: its directory has {seen} entries, and should have {count}")


def _directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Returns the central directory's offset, its bytes and its number of entries. Raises BadArchive."""
    begin = max(0, size - _END.size - 0xFFFF)  # a comment of up to 65,535 bytes may follow the end record
    file.seek(begin)
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")  # the last one: the zip may contain another one, stored
    if found < 0 or len(tail) - found < _END.size:
        raise BadArchive("this is not a zip, or its end is missing")
    _, _, _, _, count, length, at, _ = _END.unpack_from(tail, found)
    if at == _SATURATED or count == 0xFFFF or length == _SATURATED:
        place = begin + found - _END64_PLACE.size
        at, length, count = _directory64(file, place)
    if at + length > size:
        raise BadArchive("the zip is damaged: its directory lies outside of it")
    return at, length, count


def _directory64(file: BinaryIO, place: int) -> tuple[int, int, int]:
    try:
        file.seek(max(0, place))
        mark, _, at, _ = _END64_PLACE.unpack(file.read(_END64_PLACE.size))
        file.seek(at)
        fields = _END64.unpack(file.read(_END64.size))
    except (struct.error, OSError, OverflowError, ValueError):
        raise BadArchive("the zip is damaged: its directory cannot be found") from None
    if mark != b"PK\x06\x07" or fields[0] != b"PK\x06\x06":
        raise BadArchive("the zip is damaged: its directory cannot be found")
    return fields[9], fields[8], fields[7]


class _Entry:
    """An entry of the central directory."""

    __slots__ = ("at", "crc", "executable", "folder", "method", "name", "packed", "plain", "size")

    def __init__(self, fields: tuple[int, ...], made_by: int, mode: int, name: str) -> None:
        self.method, self.crc, self.packed, self.size, self.at = fields
        self.name = name
        kind = stat.S_IFMT(mode) if made_by == _UNIX else 0
        self.folder = name.endswith("/") or kind == stat.S_IFDIR
        self.plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
        self.executable = made_by == _UNIX and bool(mode & 0o100)

    @classmethod
    def read(cls, directory: bytes, position: int) -> tuple[_Entry, int]:
        """Parses the entry at `position`. Returns it and the next one's position. Raises BadArchive."""
        (mark, made_by, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length,
         _, _, attributes, at) = _ENTRY.unpack_from(directory, position)  # fmt: skip
        if mark != b"PK\x01\x02":
            raise BadArchive("the zip is damaged: an entry of its directory cannot be read")
        start = position + _ENTRY.size
        raw = directory[start : start + name_length]
        extra = directory[start + name_length : start + name_length + extra_length]
        name = _text(raw, flags)
        if flags & _ENCRYPTED:
            raise BadArchive(f"{name[:60]!a} is encrypted; pack it without a password")
        if method not in (_STORED, _DEFLATED):
            raise BadArchive(f"{name[:60]!a} is packed by method {method}; only deflate is read")
        size, packed, at = _wide(extra, size, packed, at)
        entry = cls((method, crc, packed, size, at), made_by >> 8, attributes >> 16, name)
        return entry, start + name_length + extra_length + comment_length


def _wide(extra: bytes, *values: int) -> list[int]:
    """Replaces saturated values by those of the zip64 extra field (kind 1), which has only these, in
    order."""
    found = list(values)
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = list(struct.iter_unpack("<Q", extra[4 : 4 + length // 8 * 8]))
            for index, value in enumerate(values):
                if value == _SATURATED and wide:
                    (found[index],) = wide.pop(0)
        extra = extra[4 + length :]
    return found


def _text(raw: bytes, flags: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if flags & _UTF8:
            raise BadArchive(f"the zip holds a name that is not UTF-8: {raw[:60]!a}") from None
        return raw.decode("cp437")  # the format's encoding of names without the UTF-8 flag


def _content(file: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    """Yields a file's content. Raises BadArchive if it is not exactly what the directory states."""
    file.seek(entry.at)
    local = file.read(_LOCAL.size)
    if len(local) < _LOCAL.size or local[:4] != b"PK\x03\x04":
        raise BadArchive(f"the zip is damaged: {entry.name[:60]!a} is not where it should be")
    # The local header's own lengths: its extra fields may differ from those in the directory.
    name_length, extra_length = _LOCAL.unpack(local)[9:]
    place = entry.at + _LOCAL.size + name_length + extra_length
    check = size = 0
    for data in _unpacked(file, entry, place):
        size += len(data)
        if size > entry.size:
            raise BadArchive(f"{entry.name[:60]!a} is larger than the zip's directory says")
        check = zlib.crc32(data, check)
        yield data
    if size != entry.size or check != entry.crc:
        raise BadArchive(f"the zip is damaged: {entry.name[:60]!a} does not match its checksum")


def _unpacked(file: BinaryIO, entry: _Entry, place: int) -> Iterator[bytes]:
    """Yields unpacked pieces of up to PIECE bytes. `place`: of the packed bytes. Raises BadArchive."""
    left = entry.packed
    unpacker = zlib.decompressobj(wbits=-15) if entry.method == _DEFLATED else None  # negative: raw deflate
    more = False  # the last piece was full: the unpacker may hold output without needing more input
    while left or more or (unpacker and unpacker.unconsumed_tail):
        packed = unpacker.unconsumed_tail if unpacker else b""
        if not packed and not more:
            file.seek(place)  # the caller may have moved the file's position between two pieces
            packed = file.read(min(left, PIECE))
            if not packed:
                raise BadArchive("the zip ends in the middle of a file")
            left -= len(packed)
            place += len(packed)
        if unpacker is None:
            yield packed
            continue
        try:
            data = unpacker.decompress(packed, PIECE)
        except zlib.error:
            raise BadArchive(f"the zip is damaged: {entry.name[:60]!a} cannot be unpacked") from None
        more = len(data) == PIECE
        if data:
            yield data
        if unpacker.eof:
            return
