"""The watchdog's judgement: whom it ends, whom it leaves alone, and that what it stopped goes on."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from coderunner.errors import ContainerGone, StartFailed
from coderunner.fleet import watchdog
from coderunner.fleet.watchdog import LOCKS, MIB, WAITING, Strain, Watchdog

LOCK, SOCKET = LOCKS.bound, WAITING.bound


class Kernel:
    """A machine whose figures a test sets. `work`: by session, seconds of the kernel's in each second."""

    def __init__(self) -> None:
        self.held: Counter[int] = Counter()
        self.waiting: dict[int, int] = {}
        self.work: dict[int, float] = {}
        self.stopped: set[int] = set()
        self.clock = 0.0
        self.done = 0.0

    def uid(self, pid: int) -> int | None:
        return 20_000 + pid if pid else None

    def locks(self, worth: int) -> Counter[int]:
        return self.held

    def waiting_bytes(self, pid: int) -> int:
        return self.waiting.get(pid, 0)

    def session_seconds(self, pid: int) -> float:
        return self.clock

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        self.done += seconds * sum(share for pid, share in self.work.items() if pid not in self.stopped)


class Engine:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.fault: Exception | None = None

    async def inspect(self, container: str) -> Any:
        return SimpleNamespace(pid=int(container))

    async def pause(self, container: str) -> None:
        self.kernel.stopped.add(int(container))

    async def unpause(self, container: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.kernel.stopped.discard(int(container))


class Fake:
    """A session; its PID on the host is its number."""

    def __init__(self, number: int) -> None:
        self.id = f"s{number}"
        self.over = False
        self.why = ""
        self.condemned = ""
        self.language = SimpleNamespace(name="python")
        self.record = SimpleNamespace(session=self.id, language="python", address="192.0.2.1", principal=None)
        self.container = SimpleNamespace(id=str(number), uid=20_000 + number, condemn=self._condemn)

    def _condemn(self, reason: str) -> None:
        self.condemned = reason

    def evict(self, why: str) -> None:
        self.over, self.why = True, why


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    one = Kernel()

    async def sleep(seconds: float) -> None:
        one.pass_time(seconds)

    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: one.clock))
    monkeypatch.setattr(watchdog.asyncio, "sleep", sleep)
    return one


@pytest.fixture
def sessions() -> dict[str, Fake]:
    return {f"s{number}": Fake(number) for number in (1, 2, 3)}


@pytest.fixture
def engine(kernel: Kernel) -> Engine:
    return Engine(kernel)


@pytest.fixture
def dog(engine: Engine, kernel: Kernel, sessions: dict[str, Fake]) -> Watchdog:
    strain = Strain("work", lambda _: kernel.done, 0.4, 3)
    return Watchdog(engine, lambda: sessions, 1.0, kernel, (strain,))  # type: ignore[arg-type]


async def looks(dog: Watchdog, kernel: Kernel, count: int = 1) -> None:
    for _ in range(count):
        kernel.pass_time(1.0)
        await dog.look()


def ended(sessions: dict[str, Fake]) -> list[str]:
    return [name for name, one in sessions.items() if one.why]


async def test_nobody_is_ended_for_what_everybody_may_hold(
    dog: Watchdog, kernel: Kernel, sessions: dict[str, Fake]
) -> None:
    kernel.held.update({20_001: LOCK, 20_002: LOCK, 0: 10**6})  # uid 0 is none of ours
    kernel.waiting = {1: SOCKET, 2: SOCKET}
    await looks(dog, kernel, 5)
    assert ended(sessions) == []


@pytest.mark.parametrize("kind", ["locks", "sockets"])
async def test_above_the_bound_twice_in_a_row(
    dog: Watchdog, kernel: Kernel, sessions: dict[str, Fake], kind: str
) -> None:
    def hold(times: float) -> None:
        kernel.held[20_002] = int(LOCK * times) if kind == "locks" else 0
        kernel.waiting[2] = int(SOCKET * times) if kind == "sockets" else 0

    for times in (1.5, 1, 1.5, 1):  # a peak is none
        hold(times)
        await looks(dog, kernel)
    assert ended(sessions) == []
    hold(1.5)
    await looks(dog, kernel, 2)
    assert ended(sessions) == ["s2"]
    assert ("3,750 file locks" if kind == "locks" else f"{48} MiB") in sessions["s2"].why


async def test_far_above_the_bound_once(dog: Watchdog, kernel: Kernel, sessions: dict[str, Fake]) -> None:
    kernel.waiting[3] = 4 * SOCKET + MIB
    await looks(dog, kernel)
    assert ended(sessions) == ["s3"]


async def test_a_strain_is_traced_by_stopping_one_after_the_other(
    dog: Watchdog, kernel: Kernel, sessions: dict[str, Fake]
) -> None:
    kernel.work = {3: 0.7}
    await looks(dog, kernel, 3)
    assert ended(sessions) == []  # not yet
    await looks(dog, kernel, 2)
    assert ended(sessions) == ["s3"]
    assert "0% while it was paused" in sessions["s3"].why
    assert kernel.stopped == set()


async def test_of_two_the_strain_is_traced_to_both(
    dog: Watchdog, kernel: Kernel, sessions: dict[str, Fake]
) -> None:
    kernel.work = {1: 0.5, 3: 0.5}
    await looks(dog, kernel, 5)
    (first,) = ended(sessions)
    kernel.work.pop(int(first[1:]))
    await looks(dog, kernel, 5)
    assert ended(sessions) == ["s1", "s3"]


async def test_what_none_of_them_causes_ends_nobody(
    dog: Watchdog, kernel: Kernel, sessions: dict[str, Fake]
) -> None:
    kernel.work = {99: 0.9}  # the machine's own
    stops = 0
    for _ in range(40):
        await looks(dog, kernel)
        stops += bool(kernel.stopped)
    assert ended(sessions) == []
    assert kernel.stopped == set()
    assert kernel.clock < 40 + 2 * 3 * 5  # it searched once, and then left them alone for a minute


async def test_who_cannot_go_on_is_lost_and_not_forgotten(
    dog: Watchdog, engine: Engine, kernel: Kernel, sessions: dict[str, Fake]
) -> None:
    kernel.work = {1: 0.9}
    engine.fault = StartFailed("unpause: no")
    await looks(dog, kernel, 5)
    assert "unpause: no" in sessions["s1"].condemned


async def test_a_machine_that_does_not_show_them_is_said(
    engine: Engine, kernel: Kernel, sessions: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "uid", lambda pid: None)
    dog = Watchdog(engine, lambda: sessions, 1.0, kernel, ())  # type: ignore[arg-type]
    assert dog.warnings() == []  # nothing is known yet
    await looks(dog, kernel)
    assert "are not visible in /proc" in dog.warnings()[0]
    kernel.waiting[1] = 10 * SOCKET
    await looks(dog, kernel)
    assert ended(sessions) == []


async def test_one_that_goes_while_it_is_found(
    dog: Watchdog, engine: Engine, kernel: Kernel, monkeypatch: Any
) -> None:
    async def gone(_: str) -> Any:
        raise ContainerGone()

    monkeypatch.setattr(engine, "inspect", gone)
    await looks(dog, kernel, 2)
    assert dog.warnings() == []
