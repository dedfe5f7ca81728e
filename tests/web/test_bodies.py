"""Bodies of requests without a session: reading is bounded, and the memory is released."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from coderunner.core import codec
from coderunner.errors import BadJson, BadMedia, BadMessage, BodyTooLarge, RateLimited
from coderunner.web.api import bodies
from coderunner.web.api.bodies import Bodies
from coderunner.web.keys import PARTS

MOST = 4 * 1024 * 1024


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class Content:
    """A body that arrives in these pieces. `then`: called before the last one."""

    def __init__(self, *pieces: bytes, then: Any = None) -> None:
        self._pieces = list(pieces)
        self._then = then

    async def readany(self) -> bytes:
        if not self._pieces:
            return b""
        if len(self._pieces) == 1 and self._then is not None:
            await self._then()
        return self._pieces.pop(0)


def asked(*pieces: bytes, media: str = "application/json", length: int | None = None, then: Any = None):
    return SimpleNamespace(
        content_type=media, content_length=length, content=Content(*pieces, then=then),
        app={PARTS: None}, get=lambda _: None,  # of an unknown caller
    )  # fmt: skip


async def test_a_body_in_pieces_is_read_whole():
    body = json.dumps({"text": "é" * 50}).encode()
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    read = await Bodies().read(asked(*pieces), "a", Wanted, MOST)
    assert read.text == "é" * 50


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (asked(b"{}", media="text/plain"), BadMedia, "Content-Type"),
        (asked(b"{}", length=MOST + 1), BodyTooLarge, str(MOST + 1)),
        (asked(b"x" * MOST, b"y"), BodyTooLarge, "more than"),
        (asked(b"{"), BadJson, "one JSON object"),
        (asked(b"\xff"), BadJson, "UTF-8"),
        (asked(), BadJson, "one JSON object"),
        (asked(b'{"text": 1}'), BadMessage, "text"),
        (asked(b'{"text": "", "txet": ""}'), BadMessage, "txet"),
        (asked(b"[" + b"0," * codec.MAX_VALUES * 2 + b"0]"), BadMessage, "values"),
    ],
)
async def test_what_is_wrong_is_said_and_its_room_given_back(request_, error, said):
    read = Bodies()
    with pytest.raises(error, match=said):
        await read.read(request_, "a", Wanted, MOST)
    assert read.held == 0


async def test_one_address_has_a_bound_and_all_together_have_one(monkeypatch):
    monkeypatch.setattr(bodies, "HELD_BY_ONE", 100)
    monkeypatch.setattr(bodies, "HELD", 150)
    read = Bodies()

    async def beside(address: str, size: int) -> None:
        """Reads another body while that of `a` is being read."""
        await read.read(asked(json.dumps({"text": "x" * (size - 12)}).encode()), address, Wanted, MOST)

    async def first(address: str, size: int, expected: str | None) -> None:
        async def then() -> None:
            if expected is None:
                await beside(address, size)
            else:
                with pytest.raises(RateLimited, match=expected):
                    await beside(address, size)
            assert read.held == 80, "what was refused or read is given back"

        document = json.dumps({"text": "x" * 70}).encode()
        assert len(document) == 82
        await read.read(asked(document[:80], document[80:], then=then), "a", Wanted, MOST)
        assert read.held == 0

    await first("a", 20, None)
    await first("a", 21, "too many bodies")
    await first("b", 70, None)
    await first("b", 71, "too many bodies")
    await first("b", 71, "too many bodies")


class Part(msgspec.Struct, forbid_unknown_fields=True):
    text: str = ""


class Parts(msgspec.Struct, forbid_unknown_fields=True):
    parts: tuple[Part, ...] = ()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"parts": [{"a": 1}] * 9000}),
        json.dumps({"parts": [1] * 30_000}),
        json.dumps({f"part{number}": 1 for number in range(6000)}),
        json.dumps({"parts": [{}] * 9000 + [1]}),
    ],
    ids=["unknown fields", "no objects", "unknown names", "the last one"],
)
async def test_a_body_in_which_all_is_wrong_is_answered_shortly(body: str) -> None:
    """Only some of its problems are listed: all of them were ten times as long as the body."""
    with pytest.raises(BadMessage) as refused:
        await Bodies().read(asked(body.encode()), "a", Parts, MOST, 256 * 1024)
    assert len(refused.value.message) < 3000
    assert "part" in refused.value.message


async def test_a_long_body_is_parsed_beside_the_loop() -> None:
    parsed_by = []

    class Noted(msgspec.Struct):
        text: str

        def __post_init__(self) -> None:
            parsed_by.append(threading.get_ident())

    for size in (bodies.AT_ONCE // 2, bodies.AT_ONCE * 2):
        body = json.dumps({"text": "x" * size}).encode()
        assert (await Bodies().read(asked(body), "a", Noted, MOST)).text == "x" * size
    short, long = parsed_by
    assert short == threading.get_ident() != long
