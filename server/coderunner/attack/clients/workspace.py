"""Attacks on the workspace over HTTP: links in paths, hostile archives, hostile names, floods of requests."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import struct
import tarfile
import zipfile
import zlib
from collections.abc import AsyncIterator

import aiohttp

from coderunner.attack.case import Group
from coderunner.attack.programs import aftermath
from coderunner.attack.rest import session
from coderunner.attack.stage import Stage
from coderunner.schema import messages as m

GROUP = Group("workspace")


def _zip(files: dict[str, bytes]) -> bytes:
    """A zip archive of `files` (contents by path)."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, data in files.items():
            whole.writestr(name, data)
    return sink.getvalue()


def _tar(*members: tuple[str, bytes, bytes, str], mode: str = "w") -> bytes:
    """A tar archive of members (name, type, content, link). `mode`: as of `tarfile.open`."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as whole:  # type: ignore[call-overload]
        for name, kind, data, link in members:
            information = tarfile.TarInfo(name)
            information.type, information.size, information.linkname = kind, len(data), link
            whole.addfile(information, io.BytesIO(data))
    return sink.getvalue()


# --- links ----------------------------------------------------------------------------------------------

_PLANT = """
import os
os.symlink("/tmp", "out"); os.symlink("/etc/passwd", "link"); os.mkdir("folder")
os.symlink("../..", "folder/up"); os.mkfifo("pipe"); open("mine", "w").write("mine")
open("/tmp/secret.png", "w").write("top" + "secret")
"""
_LOOK = "import os; print(sorted(os.listdir('/tmp')), os.path.exists('mine'), open('/tmp/secret.png').read())"
_UNTOUCHED = "['secret.png'] True topsecret"


@GROUP.case(
    "links-before-every-request", "reading, writing, moving and deleting, by links in every part of a path",
    f"only bad_path | {_UNTOUCHED}",
)  # fmt: skip
async def _links(stage: Stage) -> str:
    async with session(stage, _PLANT) as (peer, rest):
        seen = set()
        for path in ("out/secret.png", "folder/up/tmp/secret.png", "folder/up/etc/passwd", "out/new"):
            seen |= {
                (await rest("GET", f"/files/{path}")).error,
                (await rest("PUT", f"/files/{path}", b"stolen")).error,
                (await rest("DELETE", f"/files/{path}")).error,
                (await rest("POST", f"/files/{path}", b'{"folder": true}')).error,
                (await rest("PATCH", f"/files/{path}", b'{"path": "got"}')).error,
                (await rest("PATCH", "/files/mine", json.dumps({"path": path}).encode())).error,
                (await rest("PUT", f"/archive?into={path}", _zip({"x": b"stolen"}))).error,
            }
        seen |= {(await rest("GET", f"/files/{name}")).error for name in ("link", "pipe", "out")}
        # An archive's error comes with what was written before: nothing.
        await rest("DELETE", "/files/out")  # the link goes, not what it leads to
        stream = await peer.result(2, _LOOK)
        return f"only {' '.join(sorted(seen))} | {stream.last_line}{await aftermath(peer)}"


@GROUP.case(
    "links-racing-requests", "requests, by a program that swaps folder and link all the time",
    f"nothing read | {_UNTOUCHED}",
)  # fmt: skip
async def _race(stage: Stage) -> str:
    racer = """
import os
os.makedirs("real", exist_ok=True)
print("up", flush=True)
while True:
    try:
        os.rename("real", "aside"); os.symlink("/tmp", "real")
        os.unlink("real"); os.rename("aside", "real")
    except OSError: pass
"""
    async with session(stage, _PLANT) as (peer, rest):
        await peer.run(4, racer, entry="racer.py")
        await peer.until(4, "up")
        read = set()
        for number in range(60):
            read.add((await rest("GET", "/files/real/secret.png")).body)
            await rest("PUT", f"/files/real/f{number}", b"stolen")
            await rest("DELETE", "/files/real/secret.png")
            await rest("PATCH", "/files/mine2", b'{"path": "real/got"}')
            if number % 20 == 0:
                await rest("PUT", "/archive?into=real", _zip({f"a{number}": b"stolen"}))
                read.add((await rest("GET", "/archive?format=tar")).body)
        await peer.send(m.Kill(4))
        await peer.ended(4)
        leaked = any(b"topsecret" in body for body in read)
        stream = await peer.result(2, _LOOK)
        return f"{'secrets read' if leaked else 'nothing read'} | {stream.last_line}"


@GROUP.case(
    "input-that-leads-out", "the file for a program's input, by links, pipes and folders",
    "bad_path bad_path bad_path bad_path no_file",
)  # fmt: skip
async def _stdin(stage: Stage) -> str:
    async with session(stage, _PLANT) as (peer, _):
        seen = []
        for path in ("link", "out/secret.png", "pipe", "folder", "nothing"):
            await peer.send(m.Run(2, "pipe", stdin=path))
            seen.append(await peer.error_code())
        return " ".join(seen) + await aftermath(peer)


# --- archives -------------------------------------------------------------------------------------------


def _overlapping() -> bytes:
    """A zip archive of 200 entries that all point to one packed megabyte."""
    data = bytes(1 << 20)
    # Without the header and checksum of zlib (RFC 1950): members of a zip archive are plain deflate streams.
    packed = zlib.compress(data, 9)[2:-4]
    sizes = (zlib.crc32(data), len(packed), len(data))
    # By hand, as `zipfile` writes no overlapping entries: local header, directory and end record as in
    # APPNOTE.TXT of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16.
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, *sizes, 1, 0) + b"a"
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, *sizes, 4, 0, 0, 0, 0, 0, 0)
        + b"%04d" % number
        for number in range(200)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 200, 200, len(directory), len(local + packed), 0)
    return local + packed + directory + end


def _endless() -> bytes:
    """A tar.gz of a device whose header claims 4 GiB of content; 64 MiB of zeros are packed behind it."""
    header = tarfile.TarInfo("zero")
    header.type, header.size = tarfile.CHRTYPE, 1 << 32
    # 31: with the header and checksum of gzip (zlib.h, deflateInit2).
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(header.tobuf(tarfile.GNU_FORMAT))]
    parts += [packer.compress(bytes(1 << 22)) for _ in range(16)]
    return b"".join(parts) + packer.flush()


def _crowd() -> bytes:
    """A zip archive whose directory has 200,000 entries, while its end says that it has one."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 200_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 0, 0)
    return directory + end


_FILE = tarfile.REGTYPE


@GROUP.case(
    "archives-with-teeth", "memory and time of the server, by archives that unpack to much more data",
    "bad_archive bad_archive too_many_files file_too_large bad_archive too_many_files bad_archive | []",
)  # fmt: skip
async def _bombs(stage: Stage) -> str:
    async with session(stage) as (peer, rest):
        seen = [
            (await rest("PUT", "/archive", body)).error
            for body in (
                _overlapping(),
                _endless(),
                _crowd(),
                _zip({"big": bytes(64 << 20)}),
                _tar(*((f"f{number}", _FILE, bytes(1 << 20), "") for number in range(80)), mode="w:gz"),
                _tar(*((f"d{number}", tarfile.DIRTYPE, b"", "") for number in range(3000))),
                secrets.token_bytes(100_000),
            )
        ]
        return f"{' '.join(seen)} | {await rest.paths()}" + await aftermath(peer)


@GROUP.case(
    "archives-that-lead-out", "places outside of the workspace, by names and links in archives",
    "bad_path bad_path bad_path bad_path bad_path | ['a', 'a/x'] left out: a hard device",
)  # fmt: skip
async def _escapes(stage: Stage) -> str:
    async with session(stage) as (peer, rest):
        seen = [
            (await rest("PUT", "/archive", body)).error
            for body in (
                _tar(("good", _FILE, b"1", ""), ("../x", _FILE, b"1", "")),
                _tar(("/tmp/x", _FILE, b"1", "")),
                _tar(("a\x1b[2J", _FILE, b"1", "")),
                _zip({"a/../../x": b"1"}),
                _zip({"good": b"1", "a": b"", "a/b": b""}),
            )
        ]
        # A link, and then a file that would go through it.
        done = await rest(
            "PUT",
            "/archive",
            _tar(
                ("a", tarfile.SYMTYPE, b"", "/tmp"), ("a/x", _FILE, b"1", ""),
                ("hard", tarfile.LNKTYPE, b"", "/etc/passwd"), ("device", tarfile.CHRTYPE, b"", ""),
            ),
        )  # fmt: skip
        left_out = " ".join(done.document["left_out"])
        return f"{' '.join(seen)} | {await rest.paths()} left out: {left_out}" + await aftermath(peer)


@GROUP.case(
    "bodies-without-end", "memory of the server, by endless bodies", "file_too_large file_too_large"
)  # fmt: skip
async def _bodies(stage: Stage) -> str:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield bytes(65536)

    async with session(stage) as (peer, rest):
        seen = []
        for path in ("/files/x", "/archive"):
            try:
                seen.append((await rest("PUT", path, endless())).error)
            except (aiohttp.ClientError, ConnectionError):
                seen.append("file_too_large")  # cut off, which is as good
        return " ".join(seen) + await aftermath(peer)


# --- listings -------------------------------------------------------------------------------------------

_NAMES = """
import os
for name in ("a\\nb", "a\\x1b[2J", "a\\u202eb", "a\\\\b", "\\udcff", "x" * 255, "<img src=x>", "ok"):
    open(os.fsencode(name) if name != "\\udcff" else b"\\xff", "w").close()
here = os.open(".", os.O_RDONLY)
for _ in range(500):
    os.mkdir("deep", dir_fd=here); here = os.open("deep", os.O_RDONLY, dir_fd=here)
"""


@GROUP.case(
    "names-in-a-listing", "code that reads a listing, by names with unusual characters and endless folders",
    "<img src=x> main.py ok xxx and 32 deep | zip of 4, 500 removed",
)  # fmt: skip
async def _names(stage: Stage) -> str:
    async with session(stage, _NAMES) as (peer, rest):
        listed = await rest.paths()
        shown = sorted(path[:3] if path.startswith("x") else path for path in listed if "deep" not in path)
        # A listing goes 32 levels deep (`schema.paths.MAX_DEPTH`).
        deep = sum("deep" in path for path in listed)
        packed = zipfile.ZipFile(io.BytesIO((await rest("GET", "/archive")).body))
        files = [name for name in packed.namelist() if "deep" not in name]
        gone = (await rest("DELETE", "/files/deep")).document["removed"]
        # What lies too deep is moved up on the way, and counted once more for it.
        about = "500" if 500 <= gone <= 540 else str(gone)
        seen = f"{' '.join(shown)} and {deep} deep | zip of {len(files)}, {about} removed"
        return seen + await aftermath(peer)


@GROUP.case(
    "listing-of-a-full-workspace", "the agent's time, by as many files as there may be, beside a keystroke",
    "8000 listed, echo goes on, all removed",
)  # fmt: skip
async def _huge(stage: Stage) -> str:
    code = (
        "import os,tty\nos.mkdir('many')\nfor n in range(8000): open(f'many/{n}', 'w').close()\n"
        "tty.setraw(0)\nos.write(1,b'!')\nwhile True: os.write(1,os.read(0,100))"
    )
    async with session(stage) as (peer, rest):
        await peer.run(1, code, mode="tty")
        await peer.until(1, "!", 30)
        slowest, at, loop = 0.0, 0, asyncio.get_running_loop()
        listing = asyncio.create_task(rest.paths())
        removal = None
        while not listing.done() or removal is None or not removal.done():
            if listing.done() and removal is None:
                removal = asyncio.create_task(rest("DELETE", "/files/many"))
            began, before = loop.time(), peer.channel(1).end
            await peer.input(1, b"k", offset=at)
            at += 1
            await peer.wait(lambda before=before: peer.channel(1).end > before, 10, "echo")  # type: ignore[misc]
            slowest = max(slowest, loop.time() - began)
        echo = "echo goes on" if slowest < 2.0 else f"an echo took {slowest:.1f} s"
        listed = sum(path.startswith("many/") for path in listing.result())
        left = sum(path.startswith("many") for path in await rest.paths())
        return f"{listed} listed, {echo}, {'all removed' if not left else f'{left} left'}"


@GROUP.case(
    "requests-in-a-crowd", "the session, by 400 requests at once", "answered with 200 or 429, alive",
)  # fmt: skip
async def _crowded(stage: Stage) -> str:
    async with session(stage, "open('big','wb').write(bytes(1<<20))") as (peer, rest):
        answers = await asyncio.gather(*(rest("GET", "/files/big") for _ in range(400)))
        odd = {one.status for one in answers} - {200, 429}
        await peer.run(2, "print('alive')")
        last = (await peer.ended(2)).last_line
        return f"answered with {'200 or 429' if not odd else sorted(odd)}, {last}"
