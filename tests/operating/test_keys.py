"""Keys that the operator makes while the database has trouble."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from coderunner import config
from coderunner.errors import DatabaseUnavailable
from coderunner.identity.chain import Verifiers
from coderunner.identity.keys import parts_of
from coderunner.schema.admin import MakeKey
from coderunner.web.admin import keys
from coderunner.web.keys import PARTS

ADMIN_KEY = "0123456789abcdef" * 4


async def test_a_key_that_was_stored_is_told_though_it_cannot_be_read_back(monkeypatch):
    """Its text is nowhere else: there would be a good key that nobody has."""
    stored = []

    class Store:
        async def write(self, _work: Any) -> None:
            stored.append(True)

        async def read(self, _work: Any) -> None:
            raise DatabaseUnavailable("the database did not answer in 5 s")

    async def body_of(_request: web.Request, _kind: type[MakeKey]) -> MakeKey:
        return MakeKey(name="grader")

    monkeypatch.setattr(keys, "body_of", body_of)
    app = web.Application()
    identity = Verifiers(admin_key=ADMIN_KEY)
    app[PARTS] = SimpleNamespace(settings=config.load({}), identity=identity, store=Store())
    headers = {"Host": "127.0.0.1:3000", "Authorization": f"Bearer {ADMIN_KEY}"}
    answer = await keys.make(make_mocked_request("POST", "/api/admin/keys", headers, app=app))
    assert (answer.status, stored) == (201, [True])
    assert parts_of(msgspec.json.decode(answer.body)["key"]) is not None
