"""A request for a run to a server that is away, or takes no new sessions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from coderunner.client import asking, grading, visit
from coderunner.client.refused import Refused

DRAINING = (503, '{"code": "draining", "detail": "the server takes no new sessions"}')


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
    monkeypatch.setattr(asking, "RECONNECT_SECONDS", 0.4)


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
