"""Attacks by files of a message: hostile names, too many of them, and links planted at their destinations."""

from __future__ import annotations

from coderunner.attack.case import Case, Group
from coderunner.attack.programs import aftermath, describe
from coderunner.attack.stage import Stage
from coderunner.schema import messages as m

GROUP = Group("files")

_NAMES: tuple[tuple[str, str], ...] = (
    ("parent", "../x"),
    ("parent-inside", "a/../../x"),
    ("absolute", "/etc/x"),
    ("dot", "."),
    ("dot-component", "a/./b"),
    ("empty", ""),
    ("empty-component", "a//b"),
    ("trailing-slash", "a/"),
    ("nul", "a\0b"),
    ("newline", "a\nb"),
    ("escape", "a\x1b]0;x\x07b"),
    ("delete", "a\x7fb"),
    # C1 controls: 0x9b is CSI, the beginning of an escape sequence, for terminals that take 8 bits.
    ("c1-control", "a\x9bb"),
    # Unicode TR 36: "a\u202etxt.py" is shown as "ayp.txt".
    ("bidi-override", "a\u202etxt.py"),
    ("bidi-isolate", "a\u2066b"),
    ("line-separator", "a\u2028b"),
    ("backslash", "..\\x"),
    # NAME_MAX of Linux is 255 bytes.
    ("component-too-long", "x" * 256),
    # PATH_MAX of Linux is 4096 bytes.
    ("four-kilobytes", "/".join(["x" * 100] * 40)),
    ("too-deep", "/".join(["d"] * 40)),
)


def _add(name: str, path: str) -> Case:
    async def script(stage: Stage) -> str:
        async with stage.connect() as peer:
            await peer.send(m.Open("python", peer.client, files=(m.File(path, b"x"),)))
            return await peer.error_code()

    return Case(
        f"name-{name}", GROUP.name, "the workspace's borders, by a file's name", ("bad_path",), script
    )


GROUP.cases += [_add(*row) for row in _NAMES]


@GROUP.case("name-surrogate", "the reader of names, by half a character", "bad_json")
async def _surrogate(stage: Stage) -> str:
    async with stage.connect() as peer:
        await peer.send_raw(
            f'{{"type":"open","language":"python","client":"{peer.client}",'
            '"files":[{"path":"\\ud800","content":""}]}'
        )
        return await peer.error_code()


TEN_THOUSAND = tuple(m.File(f"f{number}", b"") for number in range(10_000))


@GROUP.case(
    "files-ten-thousand",
    "memory and inodes, by 10,000 files of a client without a session",
    "frame_too_large",
)
async def _many(stage: Stage) -> str:
    async with stage.connect() as peer:
        await peer.send(m.Open("python", peer.client, files=TEN_THOUSAND))
        return await peer.error_code()


@GROUP.case(
    "files-ten-thousand-of-a-run", "memory and inodes, by 10,000 files of a session", "bad_message",
    "too_many_files",
)  # fmt: skip
async def _many_of_a_run(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.send(m.Run(1, "pipe", files=TEN_THOUSAND))
        return await peer.error_code()


@GROUP.case("files-twice", "a file, by two of the same name", "bad_path")
async def _twice(stage: Stage) -> str:
    async with stage.connect() as peer:
        await peer.send(m.Open("python", peer.client, files=(m.File("a", b"1"), m.File("a", b"2"))))
        return await peer.error_code()


@GROUP.case("files-twice-to-the-eye", "one file, by two names that look alike", "bad_path")
async def _alike(stage: Stage) -> str:
    async with stage.connect() as peer:
        # Composed and decomposed (NFC, NFD): one file on some systems, two on others.
        files = (m.File("caf\u00e9", b"1"), m.File("cafe\u0301", b"2"))
        await peer.send(m.Open("python", peer.client, files=files))
        return await peer.error_code()


@GROUP.case("file-as-a-folder", "a file that is a folder in another's name", "bad_path")
async def _both(stage: Stage) -> str:
    async with stage.connect() as peer:
        await peer.send(m.Open("python", peer.client, files=(m.File("a", b""), m.File("a/b", b""))))
        return await peer.error_code()


@GROUP.case("file-as-a-folder-later", "a file of an earlier run that is a folder in a later one", "bad_path")
async def _later(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.result(1, "open('a', 'w').close()")
        await peer.send(m.Run(2, "pipe", files=(m.File("a/b", b""),)))
        # The refused run must have changed nothing: the session still runs programs.
        return await peer.error_code() + await aftermath(peer)


@GROUP.case("file-too-large", "the largest file", "file_too_large")
async def _large(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.send(m.Run(1, "pipe", files=(m.File("a", b"x" * ((1 << 20) + 65536)),)))
        return await peer.error_code()


_PLANT = """
import os
os.symlink("/tmp", "out")
os.symlink("/etc/passwd", "link")
os.mkdir("folder"); os.symlink("../..", "folder/up")
os.mkfifo("pipe"); os.mkdir("main2.py")
print(os.getcwd())
"""


@GROUP.case(
    "links-planted", "an upload, by links that a program planted before",
    "bad_path bad_path bad_path | False safe 0 elsewhere",
)  # fmt: skip
async def _links(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.result(1, _PLANT)
        seen = []
        for path in ("out/x", "folder/up/tmp/x", "main2.py"):
            await peer.send(m.Run(2, "pipe", files=(m.File(path, b"stolen"),)))
            seen.append((await peer.error_code()).replace("files_failed", "bad_path"))
        code = (
            "import os\n"
            "print(os.path.islink('link'), open('link').read(), len(os.listdir('/tmp')), 'elsewhere')"
        )
        await peer.send(
            m.Run(
                2,
                "pipe",
                files=(m.File("link", b"safe"), m.File("pipe", b""), m.File("main.py", code.encode())),
            )
        )
        return " ".join(seen) + " | " + (await peer.ended(2)).last_line + await aftermath(peer)


@GROUP.case(
    "upload-place-planted", "an upload, by a folder where it is written first",
    "bad_path", "files_failed", "exited 0: ran",
)  # fmt: skip
async def _place(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.result(1, "import os; os.makedirs('.coderunner-incoming/x')")
        await peer.run(2, "print('ran')")
        await peer.wait(lambda: peer.channel(2).exit or _error_codes(peer.messages), 10, "an answer")
        return _error_codes(peer.messages) or describe(peer.channel(2))


@GROUP.case(
    "upload-into-a-full-workspace",
    "an upload, with a workspace that is full",
    "workspace_full, then exited 0: alive",
)
async def _full(stage: Stage) -> str:
    fill = "f=open('big','wb',0)\ntry:\n  while True: f.write(bytes(65536))\nexcept OSError: pass"
    async with stage.session() as peer:
        await peer.result(1, fill)
        await peer.run(2, "#" * 500_000)
        code = await peer.error_code()
        await peer.send(m.Shell(4, 80, 24))
        await peer.input(4, b"rm big; exit\n", offset=0)
        await peer.ended(4)
        after = await peer.result(3, "print('alive')")
        return f"{code}, then {describe(after)}"


@GROUP.case(
    "upload-beside-a-racer",
    "an upload, by a program that swaps folder and link all the time",
    "nothing elsewhere",
)
async def _race(stage: Stage) -> str:
    racer = """
import os
os.makedirs("real", exist_ok=True)
while True:
    try:
        os.rename("real", "aside"); os.symlink("/tmp", "real")
        os.unlink("real"); os.rename("aside", "real")
    except OSError: pass
"""
    async with stage.session() as peer:
        await peer.run(1, racer, entry="racer.py")
        await peer.wait(lambda: peer.channel(1).states, 10, "start")
        # Repeated, as only an upload that falls between two steps of the racer could go elsewhere.
        for number in range(10, 40):
            files = (m.File("real/x", b"stolen"), m.File("main.py", b"print('ran')"))
            await peer.send(m.Run(number, "pipe", files=files))
        await peer.send(m.Kill(1))
        await peer.ended(1)
        stream = await peer.result(2, "import os; print(os.listdir('/tmp') or 'nothing elsewhere')")
        return stream.last_line


def _error_codes(received: list[m.ServerMessage]) -> str:
    """The codes of the errors among messages, joined by spaces."""
    return " ".join(one.code for one in received if isinstance(one, m.ErrorMessage))
