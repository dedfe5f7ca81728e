"""Archives of strangers: what honest tools make is read whole, and nothing else gets anywhere."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tarfile
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderunner.core.archives import Bounds, examine, members
from coderunner.errors import BadArchive, BadPath, CodeRunnerError, FileTooLarge, TooManyFiles

BOUNDS = Bounds(max_files=64, max_file_bytes=1 << 20, max_bytes=8 << 20)
FILES = {"main.py": b"print(1)\n", "data/ü.bin": bytes(range(256)) * 900, "empty": b"", "a/b/c.txt": b"x"}


def a_zip(files=FILES, *, method=zipfile.ZIP_DEFLATED, change=None) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as whole:
        for name, data in files.items():
            information = zipfile.ZipInfo(name)
            information.external_attr = 0o100644 << 16
            information.compress_type = method
            if change:
                change(information)
            whole.writestr(information, data)
    return sink.getvalue()


def a_tar(files=FILES, *, mode="w", shape=tarfile.PAX_FORMAT, change=None) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode, format=shape) as whole:
        for name, data in files.items():
            information = tarfile.TarInfo(name)
            information.size = len(data)
            if change:
                change(information)
            whole.addfile(information, io.BytesIO(data))
    return sink.getvalue()


def read(data: bytes, bounds=BOUNDS, into="") -> dict[str, bytes]:
    """As a user gets it: examined, then written."""
    file = io.BytesIO(data)
    contents = examine(file, bounds, into)
    found = {
        one.path: b"".join(one.content) for one in members(file, bounds, into) if one.plain and not one.folder
    }
    assert list(found) == list(contents.files)
    return found


HONEST = {
    "zip": a_zip(),
    "stored zip": a_zip(method=zipfile.ZIP_STORED),
    "tar": a_tar(),
    "ustar": a_tar(shape=tarfile.USTAR_FORMAT),
    "gnu tar": a_tar(shape=tarfile.GNU_FORMAT),
    "tar.gz": a_tar(mode="w:gz"),
}


@pytest.mark.parametrize("kind", HONEST)
def test_what_honest_tools_make_is_read_whole(kind):
    assert read(HONEST[kind]) == FILES
    assert read(HONEST[kind], into="sub/folder") == {f"sub/folder/{name}": FILES[name] for name in FILES}


names = st.text("abcü", min_size=1, max_size=120).map(lambda text: "n/" + text + "/" + text[::-1])


@given(st.dictionaries(names, st.binary(max_size=3000), max_size=5), st.sampled_from(["zip", "tar", "gz"]))
@settings(max_examples=60)
def test_any_names_and_contents_come_back(files, kind):
    data = a_zip(files) if kind == "zip" else a_tar(files, mode="w:gz" if kind == "gz" else "w")
    assert read(data) == files


def test_a_streamed_zip_with_wide_fields_is_read():
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    sink = Pipe()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, data in FILES.items():
            with whole.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert read(bytes(sink.data)) == FILES


def test_what_packers_add_is_left_away():
    assert read(a_tar({"./main.py": b"1", "./a/x": b"2"})) == {"main.py": b"1", "a/x": b"2"}
    assert read(a_zip({"main.py": b"1", "__MACOSX/._main.py": b"junk"})) == {"main.py": b"1"}


def test_a_script_stays_executable():
    def script(information):
        information.external_attr = 0o100755 << 16

    def tar_script(information):
        information.mode = 0o755

    for data in (a_zip({"run.sh": b""}, change=script), a_tar({"run.sh": b""}, change=tar_script)):
        assert [one.executable for one in members(io.BytesIO(data), BOUNDS)] == [True]


def test_a_file_of_many_pieces_of_nothing_but_zeros_is_whole():
    zeros = {"zeros": bytes(1 << 20)}
    for data in (a_zip(zeros), a_tar(zeros, mode="w:gz")):
        assert read(data) == zeros


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\b", "a\nb", "a/./b", "x" * 300])
@pytest.mark.parametrize("pack", [a_zip, a_tar], ids=["zip", "tar"])
def test_a_name_that_leads_elsewhere_refuses_the_whole(name, pack):
    with pytest.raises(BadPath):
        examine(io.BytesIO(pack({"good": b"1", name: b"2"})), BOUNDS)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_left_out_and_told(kind):
    def change(information):
        if information.name == "odd":
            information.type, information.linkname, information.size = kind, "/etc/passwd", 0

    data = a_tar({"odd": b"", "odd2": b"1"}, change=change)
    assert examine(io.BytesIO(data), BOUNDS).left_out == ("odd",)
    assert read(data) == {"odd2": b"1"}


def test_a_link_in_a_zip_is_left_out_and_told():
    def change(information):
        information.external_attr = 0o120777 << 16

    data = a_zip({"link": b"/etc/passwd"}, change=change)
    assert examine(io.BytesIO(data), BOUNDS).left_out == ("link",)


def test_a_file_below_a_link_of_the_same_archive_is_a_plain_file():
    def change(information):
        if information.name == "a":
            information.type, information.linkname, information.size = tarfile.SYMTYPE, "/etc", 0

    assert read(a_tar({"a": b"", "a/x": b"1"}, change=change)) == {"a/x": b"1"}


@pytest.mark.parametrize("pack", [a_zip, a_tar], ids=["zip", "tar"])
def test_bounds(pack):
    with pytest.raises(TooManyFiles):
        examine(io.BytesIO(pack({f"f{number}": b"" for number in range(65)})), BOUNDS)
    with pytest.raises(FileTooLarge):
        examine(io.BytesIO(pack({"big": bytes((1 << 20) + 1)})), BOUNDS)
    with pytest.raises(BadArchive):
        examine(io.BytesIO(pack({f"f{number}": bytes(1 << 20) for number in range(9)})), BOUNDS)
    with pytest.raises(BadPath):
        examine(io.BytesIO(pack({"a": b"", "a/b": b""})), BOUNDS)


def test_twice_the_same_name_is_refused():
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as whole:
        for _ in range(2):
            whole.addfile(tarfile.TarInfo("a"), io.BytesIO())
    with pytest.raises(BadPath):
        examine(io.BytesIO(sink.getvalue()), BOUNDS)


def test_a_million_entries_cost_nothing():
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 300_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, len(directory), 0, 0)
    with pytest.raises(TooManyFiles):
        examine(io.BytesIO(b"PK" + directory[2:] + end), BOUNDS)


@pytest.mark.parametrize("piece", [1000, 20_000])
def test_a_gzip_of_several_members_is_one(piece):
    """As pigz and bgzip write them."""
    tar = a_tar({"a": b"first" * 5000, "b": b"second" * 5000})
    parts = b"".join(gzip.compress(tar[at : at + piece]) for at in range(0, len(tar), piece))
    for data in (parts, parts + bytes(512), parts + gzip.compress(b"")):
        found = {one.path: b"".join(one.content) for one in members(io.BytesIO(data), BOUNDS)}
        assert found == {"a": b"first" * 5000, "b": b"second" * 5000}


def test_what_stands_behind_the_end_is_told():
    tar = a_tar({"a": b"x"})
    for data in (tar + tar, gzip.compress(tar) + gzip.compress(tar), gzip.compress(tar) + b"junk"):
        with pytest.raises(BadArchive):
            examine(io.BytesIO(data), BOUNDS)


def test_a_gzip_of_very_many_members_is_refused():
    data = gzip.compress(a_tar({"a": b"x"})) + gzip.compress(b"") * 10_000
    with pytest.raises(BadArchive, match="members"):
        examine(io.BytesIO(data), BOUNDS)


def test_a_gzip_of_an_endless_device_is_cut():
    header = tarfile.TarInfo("dev")
    header.type, header.size = tarfile.CHRTYPE, 1 << 33
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(header.tobuf(tarfile.GNU_FORMAT))
    data += b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    with pytest.raises(BadArchive, match="more than fits"):
        examine(io.BytesIO(data), BOUNDS)


def test_overlapping_files_are_refused():
    """As the zip bombs that unpack the same bytes again and again."""
    payload = zlib.compress(bytes(1 << 20))[2:-4]
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(payload), 1 << 20, 1, 0) + b"a"
    crc = zlib.crc32(bytes(1 << 20))
    directory = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(payload), 1 << 20, 2, 0, 0, 0, 0, 0, 0
        )
        + b"f%d" % number
        for number in range(6)
    )
    body = local + payload
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 6, 6, len(directory), len(body), 0)
    with pytest.raises(BadArchive, match="overlap"):
        examine(io.BytesIO(body + directory + end), BOUNDS)


def test_a_directory_that_lies_about_a_size_is_found_out():
    data = bytearray(a_zip({"a": bytes(1000)}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<L", 10)
    with pytest.raises(BadArchive, match="larger than"):
        examine(io.BytesIO(bytes(data)), BOUNDS)


@pytest.mark.parametrize("kind", HONEST)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_is_an_error_of_ours_or_leaves_the_files_whole(kind, data):
    whole = bytearray(HONEST[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for broken in (bytes(whole), bytes(whole[:cut])):
        with contextlib.suppress(CodeRunnerError):
            read(broken)


@given(st.binary(max_size=3000), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\x00"]))
def test_noise_is_an_error_of_ours(noise, head):
    with contextlib.suppress(CodeRunnerError):
        read(head + noise)


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b", b"PK\x05\x06"])
def test_what_is_no_archive_is_said_so(data):
    with pytest.raises(BadArchive):
        read(data)
