"""All objects are looked through when nobody needs the loop, and not before."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterator

import pytest

from coderunner import garbage
from tests.harness import eventually


class Circle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = gc.get_threshold()
    monkeypatch.setattr(garbage, "LOOK_SECONDS", 0.05)
    yield
    gc.set_threshold(*before)


@contextlib.asynccontextmanager
async def watched():
    task = asyncio.create_task(garbage.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def old() -> weakref.ref[Circle]:
    """Of an old object that only itself refers to."""
    one = Circle()
    gc.collect(0)
    gc.collect(1)
    return weakref.ref(one)


async def test_a_crowds_objects_are_not_looked_through_again_and_again():
    async with watched():
        await asyncio.sleep(0)
        gone = old()
        whole = gc.get_stats()[2]["collections"]
        kept = [[number] for number in range(300_000)]
        assert len(kept) == 300_000
        assert gc.get_stats()[2]["collections"] == whole
        assert gone() is not None


async def test_what_refers_to_itself_is_free_at_a_calm_moment(monkeypatch):
    monkeypatch.setattr(garbage, "ENOUGH", 0)
    monkeypatch.setattr(garbage, "CALM", 1000.0)
    async with watched():
        gone = old()
        await eventually(lambda: gone() is None, 10, "what refers to itself is gone")


async def test_a_loop_that_is_never_calm_does_not_keep_it_for_ever(monkeypatch):
    monkeypatch.setattr(garbage, "TOO_MANY", 2)
    monkeypatch.setattr(garbage, "CALM", 0.0)  # it never is
    async with watched():
        await asyncio.sleep(0)
        gone = old()
        gc.collect(1)
        gc.collect(1)
        await eventually(lambda: gone() is None, 10, "what refers to itself is gone")
