"""A request for a run to a server that is away, or takes no new sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from coderunner import app
from coderunner.client import asking, grading, patience, visit
from coderunner.client.library import Client
from coderunner.client.refused import Refused
from coderunner.fleet.catalog import BUILDING, Readiness
from tests.harness import eventually
from tests.inside import bash_settings

DRAINING = (503, '{"code": "draining", "detail": "the server takes no new sessions"}')


STARTING = (503, '{"code": "language_not_ready", "detail": "python is being prepared"}')


async def _at_once(_seconds: float) -> None: ...


class Visit:
    """A server that gives these answers, one after another; the last one for ever."""

    place = "localhost"
    reached = True

    def __init__(self, *answers: tuple[int, str] | OSError) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []

    async def post(self, _path, _document, headers) -> tuple[int, str]:
        self.keys.append(headers["Idempotency-Key"])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.fixture
def impatient(monkeypatch):
    """Less than the pause between two requests: the second one is the last."""
    monkeypatch.setattr(patience, "RECONNECT_SECONDS", 0.4)


async def test_it_is_asked_again_by_the_same_key():
    visit = Visit(DRAINING, (200, "{}"))
    assert await asking.asked(visit, "api/run", {}) == (200, "{}")
    assert len(set(visit.keys)) == 1


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_takes_no_new_sessions_says_so_in_the_end():
    visit = Visit(DRAINING)
    assert await asking.asked(visit, "api/run", {}) == DRAINING
    assert len(visit.keys) > 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("last", [(502, "<html>"), OSError("gone")])
async def test_one_that_is_away_by_then_cannot_be_reached(last):
    with pytest.raises(Refused, match="cannot be reached any more"):
        await asking.asked(Visit(DRAINING, last), "api/run", {})


async def test_a_server_that_has_just_started_finds_its_languages_first():
    assert await asking.asked(Visit(STARTING, (200, "{}")), "api/run", {}) == (200, "{}")


async def test_one_that_has_still_to_build_the_language_says_so_soon(monkeypatch):
    monkeypatch.setattr(asking, "STARTING_SECONDS", 0.4)
    assert await asking.asked(Visit(STARTING), "api/run", {}) == STARTING


@pytest.mark.long
async def test_programs_and_batches_begin_when_the_language_is_found(tmp_path: Path):
    async with app.serving(bash_settings(tmp_path)) as server, Client(server.url) as client:
        catalog, loop = server.parts.catalog, asyncio.get_running_loop()
        await eventually(catalog.ready, 120, "a language")
        found = catalog.state("bash")

        def starts() -> None:
            catalog.set_state("bash", Readiness(BUILDING, "being built"))
            loop.call_later(1.0, catalog.set_state, "bash", found)

        starts()
        program = client.start("bash", "echo hello", entry="main.sh")
        assert [one.data async for one in program] == [b"hello\n"]
        starts()
        session = await client.open("bash")
        await session.close()
        starts()
        assert (await client.batch({"language": "bash", "source": "true", "cases": [{}]}))["passed"] == 1


async def test_each_restart_during_a_long_program_has_its_own_patience(monkeypatch):
    clock = [0.0]
    loop = SimpleNamespace(time=lambda: clock[0])
    monkeypatch.setattr(asking.asyncio, "get_running_loop", lambda: loop)
    monkeypatch.setattr(asking.asyncio, "sleep", _at_once)

    class Long(Visit):
        async def post(self, *given) -> tuple[int, str]:
            clock[0] += 200.0
            return await super().post(*given)

    gone = OSError("gone")
    assert await asking.asked(Long(gone, gone, gone, (200, "{}")), "api/run", {}) == (200, "{}")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "nowhere"])
async def test_one_that_never_was_there_is_not_waited_for(address):
    async with visit.Visit(address) as nobody:
        with pytest.raises(Refused, match="no server answers"):
            await asking.asked(nobody, "api/run", {})
        with pytest.raises(Refused, match="no server answers"):
            await grading.grade(nobody, {}, print)


REFUSED = ConnectionRefusedError(111, "refused")


@pytest.mark.parametrize(("error", "times"), [(REFUSED, 2), (OSError(113, "no route"), 1)])
async def test_a_first_call_waits_for_a_server_that_restarts(monkeypatch, error: OSError, times: int):
    """A start while the server was away for a second was refused at once."""
    monkeypatch.setattr(asking.asyncio, "sleep", _at_once)
    tried: list[str] = []

    async def asked_for(_visit: object, path: str, *_: object, **__: object) -> object:
        tried.append(path)
        if len(tried) == 1:
            raise error
        raise Refused("it answers")

    for what in ("get", "connected"):
        tried.clear()
        async with Client("http://127.0.0.1:9/") as client:
            monkeypatch.setattr(visit.Visit, what, asked_for)
            with pytest.raises(Refused, match="it answers" if times > 1 else "no server answers"):
                if what == "get":
                    await client.languages()
                else:
                    await client.open("bash")
        assert len(tried) == times


@pytest.mark.parametrize("other", [(200, "<html>"), (429, ""), (401, "no"), (404, "no page"), (204, "")])
async def test_what_is_no_coderunner_is_waited_out_as_a_proxy(other: tuple[int, str]):
    visit = Visit(other, (200, "{}"))
    assert await asking.asked(visit, "api/run", {}) == (200, "{}")
    assert len(set(visit.keys)) == 1


async def test_many_who_come_back_at_one_time_are_not_given_up():
    limited = (429, '{"code": "rate_limited", "detail": "too many requests"}')
    assert await asking.asked(Visit(limited), "api/run", {}) == limited
    assert await asking.asked(Visit(OSError("gone"), limited, (200, "{}")), "api/run", {}) == (200, "{}")


async def test_it_says_once_more_why_it_waits():
    said: list[str] = []
    drains = (503, '{"code": "draining", "detail": "it takes no new sessions", "retryable": true}')
    await asking.asked(Visit(drains, OSError("gone"), (200, "{}")), "api/run", {}, said.append)
    assert said == ["it takes no new sessions", patience.LOST]
