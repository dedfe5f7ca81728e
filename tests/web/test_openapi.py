"""The OpenAPI document agrees with the routes and their answers."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest

from coderunner.web.api.document import document
from coderunner.web.routes import OPERATIONS
from tests.harness import Server
from tests.web.ordering import ask

TOLD = document(OPERATIONS)
ROWS = [(path, method) for path, methods in TOLD["paths"].items() for method in methods]


def refs(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return found + [one for inner in value.values() for one in refs(inner)]
    return [one for inner in value for one in refs(inner)] if isinstance(value, list) else []


def test_the_document_and_the_routes_agree():
    wanted = {
        (re.sub(r"\{(\w+)(:[^{}]*)?\}", r"{\1}", one.path), one.method.lower())
        for one in OPERATIONS
        if one.path.startswith("/api/")
    }
    assert set(ROWS) == wanted
    ids = [one["operationId"] for methods in TOLD["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))
    for path, method in ROWS:
        told = TOLD["paths"][path][method]
        assert told["summary"]
        names = [one["name"] for one in told["parameters"] if one["in"] == "path"]
        assert names == re.findall(r"\{(\w+)\}", path)


def test_what_is_referred_to_is_there_and_no_pattern_is_pythons_own():
    schemas = TOLD["components"]["schemas"]
    for ref in refs(TOLD):
        assert ref.removeprefix("#/components/schemas/") in schemas
    assert "\\\\Z" not in json.dumps(TOLD)
    assert schemas["RunRequest"]["additionalProperties"] is False
    assert set(schemas["RunRequest"]["required"]) == {"language"}


@pytest.mark.parametrize(("path", "method"), ROWS)
async def test_a_refusal_is_what_the_document_says(server: Server, path: str, method: str):
    target = re.sub(r"\{\w+\}", "nobody", path).lstrip("/")
    async with aiohttp.ClientSession() as client, client.request(method, server.url + target) as answer:
        # An operator's wall of an empty room is a stream that does not end: its head says enough.
        endless = answer.content_type == "text/event-stream"
        body = b"" if endless else await answer.read()
    if answer.status < 400:
        assert path.count("{") == 0 or endless
        assert answer.content_type in TOLD["paths"][path][method]["responses"][str(answer.status)]["content"]
        return
    ((media, content),) = TOLD["paths"][path][method]["responses"][str(answer.status)]["content"].items()
    assert answer.content_type == media
    model = TOLD["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[1]]
    assert set(model["required"]) <= set(json.loads(body)) <= set(model["properties"])


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "api/nothing", {}, 404, "no_address"),
        ("PUT", "api/health", {}, 405, "bad_method"),
        ("GET", "api/health", {"Host": "evil.example"}, 421, "wrong_host"),
        ("POST", "api/run", {"Content-Encoding": "gzip"}, 415, "bad_media"),
    ],
)
async def test_what_no_route_answers_is_a_problem_document_too(
    server: Server, method: str, path: str, headers: dict[str, str], status: int, code: str
):
    reply = await ask(server, method, path, headers=headers)
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert (reply.status, reply.document["status"], reply.document["code"]) == (status, status, code)
    assert reply.document["detail"]
    assert status != 405 or "GET" in reply.headers["Allow"]


async def test_it_is_served_and_so_is_its_page(server: Server):
    assert (await ask(server, "GET", "api/openapi.json")).document == json.loads(json.dumps(TOLD))
    async with aiohttp.ClientSession() as client, client.get(server.url + "api/docs") as answer:
        text = await answer.text()
        assert answer.content_type == "text/html"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "POST /api/run" in text
    assert "//" not in re.sub(r"urn:\S+", "", text.replace("</", ""))
