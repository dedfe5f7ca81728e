"""In which order the languages get ready, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from coderunner import declarations, prepare
from coderunner.canary.run import CanaryUnfinished
from coderunner.canary.verdict import Verdict
from coderunner.engine.building import BuildFailed
from coderunner.engine.containers import ROLE_LABEL, ContainerSpec
from coderunner.engine.room import Plan
from coderunner.errors import EngineUnavailable, LanguageNotReady, StartFailed
from coderunner.fleet.catalog import FAILED, READY, LanguageCatalog
from coderunner.fleet.uids import Uids
from coderunner.prepare import Preparation
from coderunner.schema.answers import LanguagesReady
from tests.sessions.fakes import until

NAMES = ("awk", "bash", "c", "cpp", "lua", "python")
DEMAND = ["python", "c", "cpp", "bash", "lua", "awk"]


class Builder:
    """Builds when it is told to: ``finish(name)``.  ``here`` are the images that are there."""

    def __init__(self, here: set[str]) -> None:
        self.here = here
        self.away = 0
        self.begun: list[str] = []
        self.fails: set[str] = set()
        self.free = 2**40
        self._done: dict[str, asyncio.Event] = {}

    async def first_steps(self, names: list[str]) -> dict[str, str]:
        return {name: f"RUN install {'gcc' if name in ('c', 'cpp') else name}" for name in names}

    async def note_use(self, holder: str, instance: str, names: list[str]) -> None:
        assert (holder, names) == ("h", DEMAND)

    async def present(self, names: list[str]) -> set[str]:
        if self.away:
            self.away -= 1
            raise EngineUnavailable("away")
        return self.here & set(names)

    async def plan(self, names: list[str]) -> Plan:
        missing = tuple(name for name in names if name not in self.here)
        return Plan(missing, ("python", "c"), 7 * 10**9, self.free, "/data")

    async def ensure(self, name: str, say: Any) -> str:
        if self.away:
            self.away -= 1
            raise EngineUnavailable("away")
        if name not in self.here:
            self.begun.append(name)
            self._done[name] = asyncio.Event()
            await self._done[name].wait()
            if name in self.fails:
                raise BuildFailed("no room\nand more")
            self.here.add(name)
        return f"image/{name}"

    def building(self, name: str) -> bool:
        return name in self._done

    def finish(self, name: str) -> None:
        self._done[name].set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(prepare, "ROOM_SECONDS", 0.01)
    monkeypatch.setattr(prepare, "AGAIN_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(prepare, "memory_bytes", lambda: 2**40)


def preparation(here: set[str]) -> tuple[Preparation, Builder, LanguageCatalog]:
    declared = declarations.load(only=NAMES)
    catalog = LanguageCatalog(declared.languages, declared.rules.defaults)
    builder = Builder(here)
    settings: Any = SimpleNamespace(canary="off", production=False, instance_name="i")
    one = Preparation(settings, None, builder, catalog, None, lambda _why: None, DEMAND, "h")  # type: ignore[arg-type]
    catalog.on_asked = one.ask
    return one, builder, catalog


async def test_what_is_here_is_ready_at_once_and_waits_for_no_build():
    one, builder, catalog = preparation({"awk", "bash", "lua"})
    task = asyncio.create_task(one.all())
    await until(lambda: sorted(catalog.ready()) == ["awk", "bash", "lua"], "what is here")
    assert builder.begun == ["python", "c"]
    for name in ("python", "c", "cpp"):
        await until(lambda name=name: name in builder.begun, name)
        builder.finish(name)
    await asyncio.wait_for(task, 5)
    assert catalog.summary() == LanguagesReady(6, 6, (), ())


async def test_the_most_wanted_is_ready_before_the_others_are_looked_at():
    one, builder, catalog = preparation({"python", "bash"})
    looks: list[tuple[list[str], list[str]]] = []
    present = builder.present

    async def looked(names: list[str]) -> set[str]:
        looks.append((list(names), catalog.ready()))
        return await present(names)

    builder.present = looked  # type: ignore[method-assign]
    task = asyncio.create_task(one.all())
    await until(lambda: sorted(catalog.ready()) == ["bash", "python"], "what is here")
    assert looks == [(["python"], []), (DEMAND, ["python"])]
    task.cancel()


async def test_two_are_built_at_a_time_in_the_order_of_demand():
    """C++ begins as C does: it waits until it can share C's layers."""
    one, builder, _ = preparation(set())
    task = asyncio.create_task(one.all())
    await until(lambda: len(builder.begun) == 2, "two builds")
    assert builder.begun == ["python", "c"]
    builder.finish("python")
    await until(lambda: len(builder.begun) == 3, "another")
    assert builder.begun[2] == "bash"
    builder.finish("c")
    await until(lambda: len(builder.begun) == 4, "another")
    assert builder.begun[3] == "cpp"
    for name in ("bash", "cpp", "lua", "awk"):
        await until(lambda name=name: name in builder.begun, name)
        builder.finish(name)
    await asyncio.wait_for(task, 5)


async def test_where_memory_is_short_one_is_built_at_a_time(monkeypatch):
    looks: list[bool] = []
    monkeypatch.setattr(prepare, "memory_bytes", lambda: looks.append(True) or prepare.BUILD_BYTES - 1)
    one, builder, _ = preparation({"bash", "lua", "awk", "cpp"})
    task = asyncio.create_task(one.all())
    await until(lambda: builder.begun, "a build")
    await until(lambda: len(looks) > 5, "another looks for memory, again and again")
    assert builder.begun == ["python"]
    builder.finish("python")
    await until(lambda: builder.begun == ["python", "c"], "the next")
    builder.finish("c")
    await asyncio.wait_for(task, 5)


async def test_what_somebody_asks_for_comes_next():
    one, builder, catalog = preparation({"bash", "cpp"})
    task = asyncio.create_task(one.all())
    await until(lambda: len(builder.begun) == 2, "two builds")
    with pytest.raises(LanguageNotReady):
        catalog.image("awk")  # as an `open` does
    assert catalog.summary() == LanguagesReady(2, 6, ("awk",), ())
    assert catalog.warnings() == ["awk is asked for and not ready yet"]
    builder.finish("python")
    await until(lambda: len(builder.begun) == 3, "another")
    assert builder.begun[2] == "awk"
    for name in ("awk", "c", "lua"):
        await until(lambda name=name: name in builder.begun, name)
        builder.finish(name)
    await asyncio.wait_for(task, 5)
    assert catalog.warnings() == []


async def test_what_failed_is_told_and_tried_again(caplog):
    caplog.set_level(logging.INFO)
    one, builder, catalog = preparation({"awk", "bash", "c", "cpp", "python"})
    builder.fails = {"lua"}
    task = asyncio.create_task(one.all())
    await until(lambda: builder.begun, "the build")
    builder.finish("lua")
    await until(lambda: catalog.summary().failed == ("lua",), "the failure")
    assert catalog.warnings() == ["lua failed and cannot be used: no room"]
    await until(lambda: len(builder.begun) == 2, "another attempt")
    assert "5 of 6 languages are ready; failed: lua" in caplog.messages
    builder.fails = set()
    builder.finish("lua")
    await asyncio.wait_for(task, 5)
    assert caplog.messages[-1] == "6 of 6 languages are ready"


async def test_a_fault_of_the_server_is_told_and_keeps_no_other_language_from_being_ready(caplog):
    one, builder, catalog = preparation({"bash", "c", "cpp", "lua", "python"})
    ensure, faults = builder.ensure, {"c", "awk"}

    async def faulty(name: str, say: Any) -> str:
        if name in faults:
            builder.begun.append(name)
            raise KeyError("RootFS")
        return await ensure(name, say)

    builder.ensure = faulty  # type: ignore[method-assign]
    task = asyncio.create_task(one.all())
    await until(lambda: set(catalog.summary().failed) == {"awk", "c"}, "the failures")
    await until(lambda: len(catalog.ready()) == 4, "the others")
    assert "awk failed and cannot be used: a fault of this server: KeyError('RootFS')" in catalog.warnings()
    assert caplog.text.count("KeyError: 'RootFS'") >= 2
    await until(lambda: builder.begun.count("awk") > 1, "another attempt")
    faults.clear()
    await until(lambda: builder.building("awk"), "the build")
    builder.finish("awk")
    await asyncio.wait_for(task, 5)
    assert catalog.warnings() == []


async def test_one_whose_image_is_lost_is_built_until_it_is_there_again():
    """As its registry may be away for a moment only, and nobody else tries: all were ready before."""
    one, builder, catalog = preparation(set(NAMES))
    await asyncio.wait_for(one.all(), 5)
    assert len(catalog.ready()) == 6
    builder.here.discard("lua")
    builder.fails = {"lua"}
    catalog.lose("lua")
    task = asyncio.create_task(one.restore("lua"))
    await until(lambda: builder.begun == ["lua"], "the build")
    builder.finish("lua")
    await until(lambda: catalog.summary().failed == ("lua",), "the failure")
    await until(lambda: builder.begun == ["lua"] * 2, "another attempt")
    builder.fails = set()
    builder.finish("lua")
    await asyncio.wait_for(task, 5)
    assert len(catalog.ready()) == 6
    one.stopping = True
    catalog.lose("lua")
    await asyncio.wait_for(one.restore("lua"), 5)


async def test_what_the_disk_has_no_room_for_is_told_before(caplog):
    caplog.set_level(logging.INFO)
    one, builder, _ = preparation({"awk", "bash", "c", "cpp", "python"})
    builder.free = 2 * 10**9
    task = asyncio.create_task(one.all())
    await until(lambda: builder.begun, "the build")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "1 image is to be built and needs about 7,000 MB; /data has 2,000 MB free, of which 1,074 MB are to"
        " stay free: set LANGUAGES=python,c, which fit, or free 6,074 MB"
    ]
    builder.finish("lua")
    await asyncio.wait_for(task, 5)


async def test_what_a_stop_breaks_off_has_not_failed(caplog):
    """Its canary's container goes with all others."""
    caplog.set_level(logging.INFO)
    one, builder, catalog = preparation({"awk", "bash", "c", "cpp", "python"})
    builder.fails = {"lua"}
    task = asyncio.create_task(one.all())
    await until(lambda: builder.begun, "the build")
    await until(lambda: len(catalog.ready()) == 5, "the rest")
    caplog.clear()
    one.stopping = True
    builder.finish("lua")
    await asyncio.wait_for(task, 5)
    assert caplog.messages == []
    assert catalog.summary().failed == ()


async def test_an_engine_that_is_away_is_waited_for():
    one, builder, catalog = preparation(set(NAMES))
    builder.away = 2
    await asyncio.wait_for(one.all(), 5)
    assert len(catalog.ready()) == 6


def test_the_order_names_languages_that_there_are():
    declared = declarations.load()
    assert declared.demand[0] == "python"
    assert sorted(declared.demand) == sorted(declared.languages)
    text = (declarations.FOLDER / "demand.toml").read_text("utf-8")
    for name in declared.languages:
        assert text.count(f'"{name}"') <= 1


async def test_an_engine_that_goes_away_in_a_build_is_waited_for():
    one, builder, catalog = preparation({*NAMES})
    builder.away = 3
    await asyncio.wait_for(one.one("lua"), 5)
    assert builder.away == 0
    assert catalog.state("lua").status == READY


class Proofs:
    """A canary that judges so, one after the other, and the part of a provisioner that it needs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *verdicts: Verdict | Exception) -> None:
        self.verdicts = list(verdicts)
        self.sockets: Any = None
        self.uids = Uids(5000, 2)
        self.given_back: list[int] = []
        self.attacked: list[Any] = []
        self.container_runtime: str | None = None
        monkeypatch.setattr("coderunner.canary.run.run_canary", self._run)

    async def _run(self, engine: Any, spec: ContainerSpec, **_: Any) -> Verdict:
        self.attacked.append(spec)
        verdict = self.verdicts.pop(0)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def runtime(self, name: str) -> str | None:
        return self.container_runtime

    def spec(self, name: str, session: str, uid: int, image: str, socket: Any) -> ContainerSpec:
        limits = declarations.load(only=NAMES).rules.defaults
        return ContainerSpec(image=image, name=session, uid=uid, limits=limits, labels={}, command=("true",))

    def socket(self, name: str, session: str) -> Any:
        return None

    def forget(self, uid: int, session: str) -> None:
        self.given_back.append(uid)
        self.uids.release(uid, session)


def proving(monkeypatch, tmp_path, *verdicts: Verdict | Exception) -> tuple[Preparation, Any, Proofs, list]:
    """(preparation, catalog, what it proves with, why the server refuses to serve)"""
    one, _, catalog = preparation({*NAMES})
    refused: list[str] = []
    one.refuse = refused.append
    one.settings = SimpleNamespace(  # type: ignore[assignment]
        canary="on", production=True, instance_name="i", state_dir=str(tmp_path)
    )
    proofs = one.provisioner = Proofs(monkeypatch, *verdicts)  # type: ignore[assignment]
    return one, catalog, proofs, refused


async def test_a_bound_that_does_not_hold_refuses_the_server(monkeypatch, tmp_path, caplog):
    bad = Verdict(False, ["memory", "a network"], {})
    one, catalog, proofs, refused = proving(monkeypatch, tmp_path, bad)
    await one.one("lua")
    assert catalog.state("lua").status == FAILED
    assert refused == ["limits of the containers are not enforced: lua: memory; a network"]
    told = [record.fields["bound"] for record in caplog.records if record.levelname == "CRITICAL"]
    assert told == bad.failures
    assert proofs.given_back == [proofs.attacked[0].uid]


async def test_one_whose_containers_hold_is_ready(monkeypatch, tmp_path):
    one, catalog, proofs, refused = proving(monkeypatch, tmp_path, Verdict(True, [], {}))
    await one.one("lua")
    assert (catalog.state("lua").status, refused) == (READY, [])
    assert proofs.attacked[0].labels[ROLE_LABEL] == "canary"


@pytest.mark.parametrize(("runtime", "warned"), [("runsc", True), (None, False)])
async def test_the_log_says_that_gvisor_is_no_place_for_graders(
    monkeypatch, tmp_path, caplog, runtime, warned
):
    one, catalog, proofs, _ = proving(monkeypatch, tmp_path, Verdict(True, [], {}))
    proofs.container_runtime = runtime
    await one.one("lua")
    assert catalog.state("lua").status == READY
    assert ("no place for graders" in caplog.text) == warned


async def test_a_socket_that_may_be_what_is_refused_is_given_up(monkeypatch, tmp_path):
    given_up: list[str] = []
    one, catalog, proofs, _ = proving(monkeypatch, tmp_path, StartFailed("no mount"), Verdict(True, [], {}))
    proofs.sockets = SimpleNamespace(doubtful=True, give_up=given_up.append)
    await one.one("lua")
    assert catalog.state("lua").status == READY
    assert given_up == ["no mount"]


async def test_a_canary_that_could_not_end_is_no_fault_of_the_socket(monkeypatch, tmp_path):
    one, catalog, proofs, refused = proving(monkeypatch, tmp_path, CanaryUnfinished("it hangs"))
    proofs.sockets = SimpleNamespace(doubtful=True, give_up=refused.append)
    await one.one("lua")
    assert catalog.state("lua").status == FAILED
    assert "it hangs" in catalog.state("lua").message
    assert refused == []
    assert len(proofs.given_back) == 1
