"""Pictures of a program that knows nothing of us: in its terminal, and as files of the workspace."""

from __future__ import annotations

import asyncio
import base64
import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from coderunner.schema import messages as m
from tests.harness import Channel, Client, Server, running_server, session, workspace

SECONDS = 900  # the image may have to be built
PICTURE = re.compile(r"\x1b\]1337;File=inline=1;size=(\d+):([A-Za-z0-9+/=]+)\x07\r?\n")

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS)]


@pytest.fixture(scope="module")
def science(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pictures")
    with running_server(folder, ready=("python-science",), LANGUAGES="python-science") as one:
        yield one


def pictures(channel: Channel) -> list[bytes]:
    found = [(int(size), base64.b64decode(text)) for size, text in PICTURE.findall(channel.text)]
    assert all(len(data) == size for size, data in found)
    return [data for _, data in found]


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


async def plot(client: Client, number: int, code: str, mode: str = "tty", **more: Any) -> Channel:
    channel = await client.result(number, "import matplotlib.pyplot as plt\n" + code, mode=mode, **more)
    assert channel.exit.code == 0, channel.text
    return channel


async def file(server: Server, client: Client, name: str) -> bytes:
    files = await asyncio.to_thread(workspace, server, client.opened.session, client.opened.token)
    return files[name]


def made(client: Client, number: int) -> dict[str, int]:
    artifacts = [one for one in client.messages if isinstance(one, m.Artifact) and one.channel == number]
    return {one.path: one.size for one in artifacts}


async def test_show_draws_into_the_terminal_and_saves_the_same(science: Server) -> None:
    async with session(science, "python-science") as client:
        channel = await plot(client, 1, "print('before')\nplt.plot([1, 3, 2])\nplt.show()\nprint('after')")
        [png] = pictures(channel)
        assert size(png) == (640, 480)
        assert PICTURE.sub("[picture]", channel.text) == "before\r\n[picture]after\r\n"
        await client.wait(lambda: made(client, 1) == {".pictures/figure-1.png": len(png)}, 10, "its artifact")
        assert await file(science, client, ".pictures/figure-1.png") == png


async def test_in_a_pipe_there_is_the_file_only(science: Server) -> None:
    async with session(science, "python-science") as client:
        channel = await plot(client, 1, "plt.plot([1, 2])\nplt.show()\nprint('after')", "pipe")
        assert (channel.stdout, channel.stderr) == (b"after\n", b"")
        await client.wait(lambda: ".pictures/figure-1.png" in made(client, 1), 10, "its artifact")
        assert size(await file(science, client, ".pictures/figure-1.png")) == (640, 480)


async def test_what_was_shown_is_closed_and_several_are_several(science: Server) -> None:
    code = """
plt.figure(figsize=(2, 1)); plt.plot([1])
plt.figure(figsize=(3, 1)); plt.plot([2])
plt.show()
plt.figure(figsize=(4, 1)); plt.plot([3]); plt.show()
plt.show()
print(plt.get_fignums())
"""
    async with session(science, "python-science") as client:
        channel = await plot(client, 1, code)
        assert [size(png)[0] for png in pictures(channel)] == [200, 300, 400]
        assert channel.text.endswith("[]\r\n")
        names = {f".pictures/figure-{number}.png" for number in (1, 2, 3)}
        await client.wait(lambda: made(client, 1).keys() == names, 10, "three files")


async def test_a_figure_that_changes_is_drawn_again_and_one_that_does_not_is_not(science: Server) -> None:
    code = """
line, = plt.plot([1, 2])
for n in (3, 4):
    line.set_ydata([1, n])
    plt.pause(.01)
plt.pause(.01)
print(len(plt.get_fignums()))
"""
    async with session(science, "python-science") as client:
        channel = await plot(client, 1, code)
        assert len({*pictures(channel)}) == len(pictures(channel)) == 2
        await client.wait(lambda: made(client, 1).keys() == {".pictures/figure-1.png"}, 10, "one file")


async def test_savefig_and_other_backends_are_as_ever(science: Server) -> None:
    code = "plt.plot([1])\nplt.savefig('mine.png', dpi=50)\nplt.savefig('mine.svg')\nprint(plt.get_fignums())"
    async with session(science, "python-science") as client:
        channel = await plot(client, 1, code)
        assert channel.text == "[1]\r\n"
        assert size(await file(science, client, "mine.png")) == (320, 240)
        assert b"<svg" in await file(science, client, "mine.svg")
        code = "plt.switch_backend('agg')\nplt.plot([1])\nplt.show()\nprint(plt.get_fignums())"
        channel = await plot(client, 2, code)
        assert channel.text == "[1]\r\n"


async def test_pillow_shows(science: Server) -> None:
    code = "from PIL import Image\nImage.new('RGB', (30, 20), 'red').show()\nImage.new('CMYK', (5, 5)).show()"
    async with session(science, "python-science") as client:
        for number, env in enumerate(({}, {"PYTHONPLAIN": "1"}), start=1):
            channel = await client.result(number, code, mode="tty", env=env)
            assert [size(png) for png in pictures(channel)] == [(30, 20), (5, 5)]


async def test_a_large_picture_is_made_smaller_for_the_terminal_and_kept_whole(science: Server) -> None:
    code = "import numpy as np\nfrom PIL import Image\n"
    code += "Image.fromarray(np.random.randint(0, 255, (1500, 3000, 3), 'uint8')).show()"
    async with session(science, "python-science") as client:
        channel = await client.result(1, code, mode="tty")
        [data] = pictures(channel)
        assert 10_000 < len(data) <= 3_000_000
        saved = ".pictures/figure-1.png"
        await client.wait(lambda: made(client, 1).get(saved, 0) > 10_000_000, 20, "the file")


async def test_no_room_for_the_file_is_told_and_the_picture_is_drawn(science: Server) -> None:
    code = "open('.pictures', 'w').close()\nplt.plot([1])\nplt.show()"
    async with session(science, "python-science") as client:
        channel = await plot(client, 1, code)
        assert len(pictures(channel)) == 1
        assert "figure-1.png could not be saved: " in channel.text


async def test_seaborn_pandas_and_sympy_draw_there(science: Server) -> None:
    programs = (
        "import pandas as pd\npd.Series([1, 3, 2]).plot.bar()\nplt.show()",
        "import seaborn as sns\nsns.histplot([1, 2, 2, 3])\nplt.show()",
        "from sympy import plot, symbols\nx = symbols('x')\nplot(x**2)",
    )
    async with session(science, "python-science") as client:
        for number, code in enumerate(programs, start=1):
            assert len(pictures(await plot(client, number, code))) == 1


# --- windows, animations, letters -----------------------------------------------------------------------

ANIMATION = """
from matplotlib.animation import FuncAnimation
figure, axes = plt.subplots()
line, = axes.plot([], [])
axes.set(xlim=(0, 100), ylim=(0, 100))
def step(n):
    line.set_data(range(n + 2), range(n + 2))
    return line,
animation = FuncAnimation(figure, step, frames={frames}, interval=50, blit={blit}, repeat={repeat})
plt.show()
print("after")
"""


@pytest.mark.parametrize("backend", ["TkAgg", "Qt5Agg", "QtAgg", "GTK3Agg", "WXAgg", "macosx", "WebAgg"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_backend_with_windows_is_ours(science: Server, backend: str, when: str) -> None:
    use = f"import matplotlib\nmatplotlib.use('{backend}')\n"
    code = use * (when == "before") + "import matplotlib.pyplot as plt\n" + use * (when == "after")
    code += "plt.gcf().canvas.manager.set_window_title('x')\nplt.plot([1, 2])\nplt.show()\nprint('after')"
    async with session(science, "python-science") as client:
        channel = await client.result(1, code, mode="tty")
        assert [size(png) for png in pictures(channel)] == [(640, 480)]
        assert PICTURE.sub("[picture]", channel.text) == "[picture]after\r\n"


@pytest.mark.parametrize(
    ("frames", "blit", "repeat", "count"),
    [
        ("6", False, True, 6),
        ("6", True, False, 6),
        ("iter(range(5))", False, True, 5),
        ("None", False, True, 100),
    ],
)
async def test_an_animation_is_drawn_as_one(
    science: Server, frames: str, blit: bool, repeat: bool, count: int
) -> None:
    async with session(science, "python-science") as client:
        code = ANIMATION.format(frames=frames, blit=blit, repeat=repeat)
        channel = await plot(client, 1, code, "pipe", limits={"cpu_ms": 60_000})
        assert channel.stdout == b"after\n"
        data = await file(science, client, ".pictures/figure-1.gif")
    assert data.startswith(b"GIF89a")
    assert struct.unpack_from("<HH", data, 6) == (640, 480)
    delays = re.findall(rb"\x21\xf9\x04.(..).\x00\x2c", data, re.S)  # before each frame, in hundredths
    assert 1 < len(delays) <= count
    assert len(delays) == count or frames == "None"
    assert set(delays) == {struct.pack("<H", 5)}


@pytest.mark.parametrize(
    "setting",
    ["", "plt.rcParams['font.sans-serif'] = ['SimHei']\n", "import seaborn\nseaborn.set_theme()\n"],
)
@pytest.mark.parametrize("letters", ["中文標題", "日本語カナ", "한국어"])
async def test_letters_of_east_asia_are_drawn(science: Server, setting: str, letters: str) -> None:
    code = setting + f"plt.title('{letters}')\nplt.xlabel('é ü')\nplt.savefig('a.png')\nplt.show()"
    async with session(science, "python-science") as client:
        channel = await plot(client, 1, code, "pipe")
        assert channel.stderr == b""  # it warns of each letter that no font has
