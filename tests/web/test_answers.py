"""Every JSON answer over HTTP has exactly the fields and types of its model."""

from __future__ import annotations

import json
import uuid

import msgspec
import pytest

from coderunner.client.rest import Answer, Rest, ask
from coderunner.core.codec import encode_answer
from coderunner.schema import messages as m
from coderunner.schema.api import Problem
from coderunner.web.routes import OPERATIONS
from tests.core.test_archives import a_zip
from tests.harness import session

ANSWERED = {
    (one.method, one.path)
    for one in OPERATIONS
    # test_admin.py has those of the operator; test_wall.py and test_handout.py have those of rooms.
    if one.answer is not None and not one.path.startswith(("/api/admin/", "/api/rooms/"))
}


def as_declared(method: str, path: str, answer: Answer) -> None:
    """Checks that a document stays the same when it is decoded by its route's model and encoded again."""
    model = next(one.answer for one in OPERATIONS if (one.method, one.path) == (method, path))
    if answer.status >= 400 and path != "/api/ready":
        model = Problem
    assert model is not None
    read = msgspec.json.decode(answer.body, type=model)
    assert json.loads(encode_answer(read)) == answer.document, (method, path)


async def test_every_route_answers_as_its_model_says(server):
    seen = set()
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        code = "print(open('nothing'))"
        await client.send(m.Run(1, "pipe", (m.File("main.py", code.encode()),)))
        await client.ended(1)
        one, archive = "/api/sessions/{session}", "/archive"
        file = one + "/files/{path:(?s:.+)}"
        calls = [
            ("GET", one, "", {}),
            ("POST", one + "/views", "/views", {"document": {"urls": ["/view/x/y/z"], "frame": True}}),
            ("POST", one + "/views", "/views", {"document": {"urls": []}}),
            ("PUT", file, "/files/made", {"body": b"x"}),
            ("GET", one + "/files", "/files", {}),
            ("PATCH", file, "/files/made", {"document": {"path": "moved"}}),
            ("PATCH", file, "/files/none", {"document": {"path": "moved"}}),
            ("POST", file, "/files/folder", {"document": {"folder": True}}),
            ("DELETE", file, "/files/folder", {}),
            ("PUT", one + archive, archive, {"body": a_zip({"in/it": b"1"})}),
            ("PUT", one + archive, archive, {"body": b"PK\x03\x04 broken"}),
            ("POST", one + "/tokens", "/tokens", {"document": {"name": "a guest", "lasts_ms": 60_000}}),
            ("GET", one + "/tokens", "/tokens", {}),
            ("DELETE", one + "/tokens/{serial}", "/tokens/000000000000", {}),
        ]
        for method, path, behind, rest_of_it in calls:
            as_declared(method, path, await rest(method, behind, **rest_of_it))
            seen.add((method, path))
    seen |= await _of_a_session(server)
    for path in ("/api/health", "/api/ready", "/api/address", "/api/queue-stats", "/api/languages",
                 "/api/identity"):  # fmt: skip
        as_declared("GET", path, await ask(server.url + path[1:]))
        seen.add(("GET", path))
    own = {"Origin": server.url.rstrip("/")}
    as_declared("POST", "/auth/logout", await ask(server.url + "auth/logout", method="POST", headers=own))
    seen.add(("POST", "/auth/logout"))
    program = {"language": "python", "source": "print(1)"}
    for asked, kept, more in (
        ("/api/run", "/api/runs/{run}", {}),
        ("/api/batch", "/api/batches/{batch}", {"cases": [{"stdin": "", "expected": "1\n"}]}),
    ):
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        body = json.dumps({**program, **more}).encode()
        begun = await ask(server.url + asked[1:], method="POST", body=body, headers=headers)
        as_declared("POST", asked, begun)
        place = server.url + kept[1 : kept.index("{")] + begun.document["id"]
        as_declared("GET", kept, await ask(place))
        as_declared("DELETE", kept, await ask(place, method="DELETE"))
        seen |= {("POST", asked), ("GET", kept), ("DELETE", kept)}
    assert seen == ANSWERED


async def _of_a_session(server) -> set[tuple[str, str]]:
    """Requests each route of a session over HTTP once."""
    seen = set()
    headers = {"Content-Type": "application/json"}

    async def call(method: str, behind: str, body: object = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        path = behind.replace(opened["session"], "{session}") if opened else behind
        answer = await ask(server.url + behind[1:], method=method, body=data, headers=headers)
        as_declared(method, path, answer)
        seen.add((method, path))
        return answer

    opened: dict[str, str] = {}
    opened = (await call("POST", "/api/sessions", {"language": "python"})).document
    headers["Authorization"] = f"Bearer {opened['token']}"
    one = f"/api/sessions/{opened['session']}"
    await call("GET", "/api/sessions")
    for what, body in (
        ("run", {"mode": "pipe", "files": [{"path": "main.py", "content": "input()"}]}),
        ("input", {"offset": 0, "text": "x"}),
        ("input", {"offset": 5, "text": "x"}),
        ("shell", {"cols": 80, "rows": 24}),
        ("resize", {"cols": 90, "rows": 30}),
        ("signal", {"name": "INT"}),
        ("kill", {}),
    ):
        await call("POST", f"{one}/{what}", {"channel": 1, **body})
    await call("POST", one + "/take")
    await call("POST", one + "/extend")
    await call("GET", one + "/events")
    await call("DELETE", one)
    return seen


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/archive?format=rar", "format must be one of zip, tar, tar.gz"),
        ("/archive?format=", "format must be one of"),
        ("/archive?format=tarxgz", "format must be one of"),
    ],
)
async def test_a_wrong_query_is_refused_with_what_is_right(server, path, words):
    async with session(server) as client:
        answer = await Rest(server.url, client.opened)("GET", path)
        assert answer.code == "400 bad_message"
        assert words in answer.document["detail"]


async def test_what_no_model_names_in_a_query_is_not_looked_at(server):
    answer = await ask(server.url + "api/languages?want=none&more=1&want=2")
    assert answer.status == 200
