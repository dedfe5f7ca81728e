"""Images built on a real engine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import docker
import pytest

from coderunner import declarations
from coderunner.engine import room
from coderunner.engine.building import LABEL, BuildFailed
from coderunner.engine.containers import AGENT_COMMAND
from coderunner.engine.images import ImageBuilder
from coderunner.engine.recipes import IN_CONTAINERS
from coderunner.errors import EngineUnavailable
from tests.harness import ENGINE, LANGUAGES, eventually
from tests.images.conftest import BUILD_SECONDS, UIDS, references, server_builder, write_toy

pytestmark = [pytest.mark.timeout(BUILD_SECONDS), pytest.mark.long]

LOADED = """, install
install()
import coderunner.agent.main, os
ours = [one for name, one in sys.modules.items() if name.startswith("coderunner.")]
print([one for one in ours if "Finder" not in type(one.__spec__.loader).__name__],
      [one for one in ours if not os.path.isfile(one.__spec__.origin)])
"""
LOOK_INSIDE = """
import glob, importlib.util, json, os, pwd, subprocess, sys
uid = os.getuid()
user = pwd.getpwuid(uid)
setuid = [os.path.join(where, name) for where, _, names in os.walk("/") for name in names
          if not where.startswith(("/proc", "/sys"))
          and os.lstat(os.path.join(where, name)).st_mode & 0o6000
          and not os.path.islink(os.path.join(where, name))]
flags = [open(path, "rb").read(8)[4:] for path in glob.glob("/opt/coderunner/*/*/__pycache__/*.pyc")]
print(json.dumps({
    "name": user.pw_name, "home": user.pw_dir, "shell": user.pw_shell,
    "whoami": subprocess.run(["whoami"], capture_output=True, text=True).stdout.strip(),
    "setuid": setuid, "unchecked": flags and all(flag == b"\\1\\0\\0\\0" for flag in flags),
    "modules": len(flags), "tools": [os.access(f"/usr/bin/{name}", os.X_OK)
        for name in ("bash", "ps", "less", "nano", "vim", "file")],
    "encoding": sys.stdout.encoding, "leftovers": os.listdir("/tmp") + os.listdir("/var/lib/apt/lists"),
}))
"""


def run(sdk: docker.DockerClient, image: str, *command: str, uid: int = UIDS[0]) -> str:
    """The output of a command in a container of the image, which is gone afterwards."""
    output = sdk.containers.run(
        image, list(command), user=f"{uid}:{uid}", network_mode="none", remove=True,
        environment={"LANG": "C.UTF-8"},
    )  # fmt: skip
    return bytes(output).decode()


async def test_built_once(builder: ImageBuilder, sdk: docker.DockerClient) -> None:
    said: list[str] = []
    assert not await builder.exists("toy")
    reference = await builder.ensure("toy", said.append)
    assert reference == builder.reference("toy")
    assert await builder.exists("toy")
    assert said[0] == f"building {builder.base().reference}"
    assert f"building {reference}" in said
    assert said[-1].startswith(f"built {reference}")
    said.clear()
    assert await builder.ensure("toy", said.append) == reference
    assert said == []
    assert run(sdk, reference, "cat", "/etc/toy-base", "/etc/toy") == "base\ntoy\n"


async def test_what_is_in_it(builder: ImageBuilder, sdk: docker.DockerClient) -> None:
    reference = await builder.ensure("toy", lambda _line: None)
    seen = json.loads(run(sdk, reference, "python3", "-c", LOOK_INSIDE, uid=UIDS[-1]))
    package = Path(declarations.__file__).parent
    modules = sum(len(list((package / name).glob("*.py"))) for name in IN_CONTAINERS)
    assert seen == {
        "name": "coder", "home": "/workspace", "shell": "/bin/bash", "whoami": "coder",
        "setuid": [], "unchecked": True, "modules": modules, "tools": [True] * 6,
        "encoding": "utf-8", "leftovers": [],
    }  # fmt: skip
    # All of the agent comes from its bundle, and each module knows its file.
    imports = AGENT_COMMAND[-1].replace(";begin()", LOADED)
    assert run(sdk, reference, *AGENT_COMMAND[:-1], imports) == "[] []\n"


async def test_a_failed_build_has_its_last_lines(folder: Path, builder: ImageBuilder) -> None:
    write_toy(folder, "RUN seq 100 && echo the cause >&2 && exit 3")
    with pytest.raises(BuildFailed) as failure:
        await builder.ensure("toy", lambda _line: None)
    assert "the cause" in failure.value.message
    assert "returned a non-zero code: 3" in failure.value.message
    assert "\n80\n" not in failure.value.message
    assert not await builder.exists("toy")
    write_toy(folder, "RUN true")
    assert await builder.ensure("toy", lambda _line: None) == builder.reference("toy")


async def test_two_servers_at_once(folder: Path, builder: ImageBuilder, sdk: docker.DockerClient) -> None:
    prefix = builder.base().reference.partition("/")[0]
    other = ImageBuilder(ENGINE, folder, UIDS, prefix)
    both = await asyncio.gather(*(one.ensure("toy", lambda _line: None) for one in (builder, other)))
    assert both[0] == both[1]
    assert references(sdk, prefix) == {both[0], builder.base().reference}


async def test_pruning_leaves_what_is_current(
    folder: Path, builder: ImageBuilder, sdk: docker.DockerClient
) -> None:
    prefix = builder.base().reference.partition("/")[0]
    old = await builder.ensure("toy", lambda _line: None)
    write_toy(folder, "RUN echo new > /etc/toy")
    new = await builder.ensure("toy", lambda _line: None)
    others = references(sdk, "coderunner")
    assert references(sdk, prefix) == {old, new, builder.base().reference}
    assert await builder.prune(["toy"]) == [old]
    assert references(sdk, prefix) == {new, builder.base().reference}
    assert references(sdk, "coderunner") == others
    assert await builder.prune(["toy"]) == []


async def test_pruning_leaves_what_another_server_uses(
    folder: Path, builder: ImageBuilder, sdk: docker.DockerClient
) -> None:
    """As of two checkouts, of which one is behind."""
    prefix = builder.base().reference.partition("/")[0]
    holders = [f"{prefix}-{number}" for number in range(2)]
    old = await builder.ensure("toy", lambda _line: None)
    await builder.note_use(holders[0], "test", ["toy"])
    try:
        write_toy(folder, "RUN echo new > /etc/toy")
        new = await builder.ensure("toy", lambda _line: None)
        await builder.note_use(holders[1], "test", ["toy"])
        assert await builder.prune(["toy"], besides=[holders[1]]) == []
        assert set(holders) <= set(await builder.holders())
        await builder.note_use(holders[0], "test", ["toy"])  # it has been brought up to date
        assert await builder.prune(["toy"]) == [old]
        assert references(sdk, prefix) == {new, builder.base().reference}
    finally:
        for holder in holders:
            await builder.forget_use(holder)
    # Nor where the preparation of languages comes later than the server's end.
    await builder.note_use(holders[0], "test", ["toy"])
    assert not set(holders) & set(await builder.holders())


async def test_users_beyond_the_usual_range_are_a_layer_upon_the_image(
    folder: Path, builder: ImageBuilder, sdk: docker.DockerClient
) -> None:
    prefix = builder.base().reference.partition("/")[0]
    usual = await builder.ensure("toy", lambda _line: None)
    uids = range(300_000, 300_002)
    other = ImageBuilder(ENGINE, folder, uids, prefix)
    assert await other.present(["toy"]) == set()
    said: list[str] = []
    reference = await other.ensure("toy", said.append)
    assert [line for line in said if line.startswith("building ")] == [f"building {reference}"]
    assert await other.present(["toy"]) == {"toy"}
    assert run(sdk, reference, "sh", "-c", "whoami; cat /etc/toy", uid=uids[-1]) == "coder\ntoy\n"
    assert await other.prune(["toy"]) == []
    assert references(sdk, prefix) == {usual, reference, builder.base().reference}


@pytest.mark.long
async def test_two_servers_share_images_and_prune_none_of_each_other(
    folder: Path, builder: ImageBuilder, sdk: docker.DockerClient
) -> None:
    """With user ids of their own: within the usual range both have one image, beyond it one has a layer
    more."""
    prefix = builder.base().reference.partition("/")[0]
    holders = [f"{prefix}-{number}" for number in range(3)]
    usual = await builder.ensure("toy", lambda _line: None)
    beside = ImageBuilder(ENGINE, folder, range(21_024, 22_048), prefix)
    beyond = ImageBuilder(ENGINE, folder, range(300_000, 300_002), prefix)
    servers = [builder, beside, beyond]
    try:
        said: list[str] = []
        assert await beside.ensure("toy", said.append) == usual
        assert said == []
        own = await beyond.ensure("toy", lambda _line: None)
        for one, holder in zip(servers, holders, strict=True):
            await one.note_use(holder, "test", ["toy"])
        # Also without a note of its own, as when its server does not run.
        assert await builder.prune(["toy"], besides=holders[:1]) == []
        assert await beyond.prune(["toy"], besides=holders[2:]) == []
        assert references(sdk, prefix) == {usual, own, builder.base().reference}
        await beyond.forget_use(holders[2])
        assert await builder.prune(["toy"]) == [own]
        assert references(sdk, prefix) == {usual, builder.base().reference}
    finally:
        for one, holder in zip(servers, holders, strict=True):
            await one.forget_use(holder)


async def test_a_build_can_be_given_up(folder: Path, builder: ImageBuilder, sdk: docker.DockerClient) -> None:
    def steps() -> list[str]:
        builds = sdk.api.containers(filters={"label": f"type={LABEL}"})
        return [one["Command"] for one in builds if "sleep 300" in one["Command"]]

    write_toy(folder, "RUN sleep 300")
    sleeping = asyncio.Event()
    task = asyncio.create_task(
        builder.ensure("toy", lambda line: sleeping.set() if "sleep 300" in line else None)
    )
    await asyncio.wait_for(sleeping.wait(), 60)
    await eventually(steps, 20, "the step runs")
    task.cancel()
    async with asyncio.timeout(60):  # the step sleeps for five times as long
        with pytest.raises(asyncio.CancelledError):
            await task
    await eventually(lambda: not steps(), 30, "the engine gave it up, too")
    write_toy(folder, "RUN true")
    assert await asyncio.wait_for(builder.ensure("toy", lambda _line: None), 60)


async def test_no_engine_is_not_a_failed_build(folder: Path, tmp_path: Path) -> None:
    builder = ImageBuilder(f"unix://{tmp_path}/none.sock", folder, UIDS)
    with pytest.raises(EngineUnavailable):
        await builder.ensure("toy", lambda _line: None)


async def test_a_build_for_which_there_is_no_room_is_refused(
    folder: Path, builder: ImageBuilder, sdk: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_of", lambda _root, _kernel: 10**9)
    plan = await builder.plan(["toy"])
    assert (plan.missing, plan.usable, plan.short) == (("toy",), (), True)
    with pytest.raises(
        BuildFailed,
        match=r"no room on the disk for toy: 1 image is to be built and needs about 800 MB; .* to stay free:"
        r" free 874 MB, or leave it out of LANGUAGES",
    ):
        await builder.ensure("toy", lambda _line: None)
    assert references(sdk, builder.base().reference.partition("/")[0]) == set()
    monkeypatch.undo()
    await builder.ensure("toy", lambda _line: None)
    assert not (await builder.plan(["toy"])).missing
    # Another version of it, as after an upgrade.
    write_toy(folder, "RUN echo new > /etc/toy")
    monkeypatch.setattr(room, "free_of", lambda _root, _kernel: room.RESERVE_BYTES + room.AGENT_BYTES)
    plan = await builder.plan(["toy"])
    assert (plan.missing, plan.needed, plan.short) == (("toy",), room.AGENT_BYTES, False)


async def test_an_unknown_folder(builder: ImageBuilder) -> None:
    with pytest.raises(BuildFailed, match="languages/nothing has no Dockerfile"):
        await builder.ensure("nothing", lambda _line: None)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in LANGUAGES else [pytest.mark.long])
        for name in declarations.load().languages
    ],
)
async def test_every_language_has_its_tools(name: str, sdk: docker.DockerClient) -> None:
    """What its declaration names is in its image; the samples are run by the whole server's tests."""
    builder, language = server_builder(), declarations.load().languages[name]
    reference = await builder.ensure(name, lambda _line: None)
    commands = [language.compile or (), language.run, language.shell]
    commands += [argv for each in language.variants for argv in (each.compile or (), each.run)]
    programs = {argv[0] for argv in commands if argv}
    for program in sorted(program for program in programs if "{" not in program):
        assert run(sdk, reference, "sh", "-c", f"command -v {program}").startswith("/")
