"""Archives in odd forms, and damage at each place that is looked at: read whole, or told in words."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile

import pytest

from coderunner.core import tars
from coderunner.errors import BadArchive
from tests.core.test_archives import FILES, a_tar, a_zip, read

END = b"PK\x05\x06"


def saturated(data: bytes, *, count: int = 0xFFFF, length: int = 0xFFFFFFFF, at: int = 0xFFFFFFFF) -> bytes:
    """The end of the directory as one beyond 4 GiB, or of very many files, has it."""
    place = data.rfind(END)
    return data[: place + 10] + struct.pack("<HLL", count, length, at) + data[place + 20 :]


@pytest.fixture
def wide(monkeypatch) -> bytes:
    """A zip with each field in its wide form."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", -1)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    return a_zip()


def test_a_zip_of_wide_fields_is_read(wide):
    assert read(wide) == FILES
    assert read(saturated(wide)) == FILES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.replace(b"PK\x06\x07", b"PK\x06\x08"), "its directory cannot be found"),
        (lambda data: data.replace(b"PK\x06\x06", b"PK\x06\x05"), "its directory cannot be found"),
        (lambda data: data[data.rfind(END) :], "its directory cannot be found"),
    ],
)
def test_the_wide_end_is_looked_at(wide, change, said):
    with pytest.raises(BadArchive, match=said):
        read(change(saturated(wide)))


def named(name: bytes, *, utf8: bool) -> bytes:
    """A zip of one file of this name, as its bytes are."""
    data = a_zip({"n" * len(name): b"x"}).replace(b"n" * len(name), name)
    if not utf8:
        return data
    flags = data.rfind(b"PK\x01\x02") + 8
    return data[:flags] + struct.pack("<H", 0x800) + data[flags + 2 :]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (saturated(a_zip(), count=4, length=1 << 20, at=0), "its directory lies outside"),
        (a_zip().replace(b"PK\x01\x02", b"PK\x01\x09"), "an entry of its directory cannot be read"),
        (a_zip().replace(b"PK\x03\x04", b"PK\x03\x09"), "is not where it should be"),
        (a_zip(method=zipfile.ZIP_BZIP2), "packed by method 12; only deflate is read"),
        (named(b"\xc3(", utf8=True), "not UTF-8"),
        (a_zip().replace(END, b"PK\x05\x05"), "this is not a zip, or its end is missing"),
    ],
)
def test_a_zip_says_what_is_wrong_with_it(data, said):
    with pytest.raises(BadArchive, match=said):
        read(data)


@pytest.mark.parametrize("gone", [0, 1, 20, 60, 10_000])
def test_a_zip_whose_directory_is_cut_loses_no_file_in_silence(gone):
    """`gone`: bytes of the directory. Its end says how many entries there are."""
    data = a_zip()
    place = data.rfind(END)
    count, length, at = struct.unpack_from("<HLL", data, place + 10)
    cut = saturated(data, count=count, length=max(0, length - gone), at=at)
    if not gone:
        assert read(cut) == FILES
        return
    with pytest.raises(BadArchive, match=r"its directory has \d entries, and should have 4"):
        read(cut)


def test_an_encrypted_file_is_told():
    data = bytearray(a_zip({"secret": b"x"}))
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadArchive, match="'secret' is encrypted; pack it without a password"):
        read(bytes(data))


def test_names_of_old_tools_are_read():
    assert read(named(b"gr\x81n", utf8=False)) == {"grün": b"x"}


def test_a_tar_of_wide_numbers_and_long_names_is_read():
    files = {"folder/" * 25 + "deep.txt": b"x", "b.txt": b"y"}
    assert read(a_tar(files, shape=tarfile.GNU_FORMAT)) == files
    big = tarfile.TarInfo("c.txt")
    big.size, big.mtime = 3, 2**40  # beyond what octal digits hold
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as whole:
        whole.addfile(big, io.BytesIO(b"abc"))
    header = bytearray(sink.getvalue())
    header[124:136] = b"\x80" + bytes(10) + b"\x03"
    assert read(summed(header)) == {"c.txt": b"abc"}


def summed(data: bytes | bytearray) -> bytes:
    """With the checksum of its first header."""
    data = bytearray(data)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def changed(place: int, new: bytes, files=FILES) -> bytes:
    data = bytearray(a_tar(files, shape=tarfile.USTAR_FORMAT))
    data[place : place + len(new)] = new
    return summed(data)


def pax(**fields: str) -> bytes:
    def change(information: tarfile.TarInfo) -> None:
        information.pax_headers = fields

    return a_tar({"a": b"x"}, change=change)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (changed(156, b"S"), "sparse"),
        (pax(**{"GNU.sparse.major": "1"}), "sparse"),
        (changed(124, b"00000000009\0"), "invalid number in a header"),
        (changed(0, b"\xff\xfe"), "not UTF-8"),
        (changed(156, b"x", {"a": b"9 size"}), "extended header cannot be read"),
        (changed(156, b"x", {"a": b"x size=1\n"}), "invalid number in a header"),
        (changed(156, b"x", {"a": bytes(tars.MAX_EXTENDED + 1)}), "at most"),
        (changed(156, b"x", {"a": bytes(5000)})[:2000], "ends in the middle of a header"),
        (a_tar({"a": bytes(5000)})[:2000], "ends in the middle of a file"),
        (a_tar()[:300], "ends in the middle of a header"),
    ],
)
def test_a_tar_says_what_is_wrong_with_it(data, said):
    with pytest.raises(BadArchive, match=said):
        read(data)


def test_a_pax_name_and_size_are_the_ones_that_count():
    assert read(pax(path="é/long.txt")) == {"é/long.txt": b"x"}
    data = bytearray(pax(size="1"))
    assert read(bytes(data)) == {"a": b"x"}


def test_what_is_no_file_passes_with_its_content():
    odd = changed(156, b"7", {"odd": b"content", "b": b"y"})
    assert "b" in read(odd)
