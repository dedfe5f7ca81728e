"""Makes the OpenAPI document of the HTTP API from the table of routes and its models."""

from __future__ import annotations

import html
import http
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec
import msgspec.inspect
from aiohttp.typedefs import Handler
from msgspec import Struct

import coderunner
from coderunner.schema.api import Problem
from coderunner.schema.sessions import MARK

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_RUNS = re.compile(r"/api/(?:run|runs|batch|batches|sessions)(?:/|$)")
_OPERATORS = re.compile(r"/api/admin/")
_NO_BEARER = re.compile(r"/api/(?:health|ready|queue-stats|languages|openapi\.json|docs)$")
HEADERS = {
    "Idempotency-Key": ("128 random bits: only DELETE cancels the work then", r"[A-Za-z0-9_-]{22,64}"),
    "Last-Event-ID": ("the event after which the stream continues", "[0-9]{0,15}"),
    "Last-Event-ID of a session": ("the last event that was received; instead of `after`", f"(?:{MARK})?"),
    "Range": ("the part of a file: one range of bytes", "bytes=[0-9]{1,15}-[0-9]{0,15}"),
}
"""Headers of requests, with their descriptions and patterns."""
KEPT = {
    "/api/run": ("/api/runs/{run}", "run"), "/api/batch": ("/api/batches/{batch}", "batch")
}  # fmt: skip
"""By path of a request that creates work: the path and its parameter under which the work is found again. For
OpenAPI links."""
_REF = "#/components/schemas/{name}"


class Described(Protocol):
    """A row of the table of routes."""

    @property
    def method(self) -> str:
        """The HTTP method, as `GET`."""

    @property
    def path(self) -> str:
        """The route's path in aiohttp's form, with its variables in braces."""

    @property
    def handler(self) -> Handler:
        """The handler; its docstring is the description."""

    @property
    def answer(self) -> type[Struct] | None:
        """The model of the response; None if it is not JSON."""

    @property
    def status(self) -> int:
        """The usual status of the answer."""

    @property
    def also(self) -> Mapping[int, type[Struct] | None]:
        """Other statuses that are no refusals, with their models."""

    @property
    def media(self) -> tuple[str, ...]:
        """The media types of the answer beside or instead of JSON."""

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the headers that are read: of HEADERS."""

    @property
    def query(self) -> type[Struct] | None:
        """The model of the query; None if the query is not read."""

    @property
    def body(self) -> type[Struct] | None:
        """The model of the body; None if it is not JSON."""


def document(operations: Iterable[Described]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all routes below /api/."""
    # The page and the WebSocket are described in other documents.
    told = [one for one in operations if one.path.startswith("/api/")]
    models: set[type[Struct]] = {Problem}
    for one in told:
        models |= {model for model in (one.answer, one.query, one.body, *one.also.values()) if model}
    # Sorted, so that the document is the same for each build.
    order = sorted(models, key=lambda model: model.__name__)
    schemas, components = msgspec.json.schema_components(order, ref_template=_REF)
    refs = dict(zip(order, schemas, strict=True))
    # msgspec knows types and bounds of fields; rules between fields are the models' own.
    for name, rules in _rules(order).items():
        components[name] |= rules
    paths: dict[str, dict[str, Any]] = {}
    for one in told:
        paths.setdefault(_PARAMETER.sub(r"{\1}", one.path), {})[one.method.lower()] = _operation(
            one, refs, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "CodeRunner", "version": coderunner.__version__},
        "paths": paths,
        "components": {
            "schemas": _plain(components),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _rules(models: Iterable[type[Struct]]) -> dict[str, dict[str, Any]]:
    """Rules between the fields of models and of those within them, by the models' names."""
    found: dict[str, dict[str, Any]] = {}
    for info in msgspec.inspect.multi_type_info(models):
        for inner in _within(info, set()):
            if hasattr(inner, "RULES"):
                found[inner.__name__] = inner.RULES
    return found


def _within(info: Any, seen: set[type]) -> Iterator[type]:
    """The models in a type's description."""
    if isinstance(info, msgspec.inspect.StructType):
        # Models may contain each other.
        if info.cls in seen:
            return
        seen.add(info.cls)
        yield info.cls
        for field in info.fields:
            yield from _within(field.type, seen)
    for name in ("type", "item_type", "value_type"):
        if isinstance(inner := getattr(info, name, None), msgspec.inspect.Type):
            yield from _within(inner, seen)
    for inner in (*getattr(info, "types", ()), *getattr(info, "item_types", ())):
        yield from _within(inner, seen)


def _operation(one: Described, refs: dict[type[Struct], Any], components: dict[str, Any]) -> dict[str, Any]:
    words = " ".join((one.handler.__doc__ or "").split())
    path = _PARAMETER.sub(r"{\1}", one.path)
    told: dict[str, Any] = {
        "operationId": _identity(one.method, path),
        "summary": words,
        "parameters": _parameters(one, components),
        "responses": {
            **_answers(one, refs, words),
            **{str(status): _refusal(status, refs) for status in _refusals(one)},
        },
        "security": _security(one.path),
    }
    if one.body is not None:
        content: dict[str, Any] = {"schema": refs[one.body]}
        # Examples are those that the models declare, and tests send them.
        if hasattr(one.body, "EXAMPLE"):
            content["example"] = one.body.EXAMPLE
        told["requestBody"] = {"required": True, "content": {"application/json": content}}
    elif one.method == "PUT":
        told["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    return told


def _identity(method: str, path: str) -> str:
    return method.lower() + re.sub("[^a-z]+", "_", re.sub(r"\{(\w+)\}", r"by_\1", path))


def _parameters(one: Described, components: dict[str, Any]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(one.path)
    ]
    if one.query is not None:
        for name, schema in components[one.query.__name__]["properties"].items():
            told.append({"name": name, "in": "query", "schema": _plain(schema)})
    for name in one.headers:
        about, pattern = HEADERS[name]
        name = name.partition(" ")[0]
        schema = {"type": "string", "pattern": f"^{pattern}$"}
        told.append({"name": name, "in": "header", "description": about, "schema": schema})
    return told


def _answers(one: Described, refs: dict[type[Struct], Any], words: str) -> dict[str, Any]:
    """The responses of an operation that does what it is for, by their statuses."""
    told: dict[str, Any] = {}
    for status, model in {one.status: one.answer, **one.also}.items():
        answer: dict[str, Any] = {"description": words or "Done"}
        content: dict[str, Any] = {"application/json": {"schema": refs[model]}} if model is not None else {}
        # 206 is a part of the same file.
        if status in (one.status, 206):
            content |= {media: {} for media in one.media}
        if content:
            answer["content"] = content
        if one.path in KEPT:
            kept, name = KEPT[one.path]
            answer["links"] = {
                f"{method.lower()}{'_events' if '/events' in path else ''}": {
                    "operationId": _identity(method, path),
                    "parameters": {name: "$response.body#/id"},
                }
                for method, path in (("GET", kept), ("GET", kept + "/events"), ("DELETE", kept))
            }
        told[str(status)] = answer
    return told


def _refusal(status: int, refs: dict[type[Struct], Any]) -> dict[str, Any]:
    return {
        "description": f"A refusal: {http.HTTPStatus(status).phrase}",
        "content": {"application/problem+json": {"schema": refs[Problem]}},
    }


def _refusals(one: Described) -> list[int]:
    """The statuses of an operation's refusals. Every request may have a wrong Host, an encoded body, or be
    invalid HTTP."""
    found = {400, 415, 421, 500}
    if "{" in one.path or _RUNS.match(one.path) or _OPERATORS.match(one.path):
        found |= {401, 403, 404, 409, 429, 503}
    if one.method in ("POST", "PUT", "PATCH") or _RUNS.match(one.path):
        # Also GET: the address of a refused run returns its refusal again.
        found |= {408, 413, 422, 507}
    return sorted(found - {one.status, *one.also})


def _security(path: str) -> list[dict[str, Any]]:
    if _NO_BEARER.search(path):
        return []
    bound = "{session}" in path or _OPERATORS.match(path)
    return [{"token": []}] if bound else [{}, {"token": []}]


def _plain(schema: Any) -> Any:
    """The schema with patterns in JavaScript's syntax, which has neither `\\Z` nor `\\0`."""
    if isinstance(schema, dict):
        return {
            name: value.replace(r"\Z", "$").replace(r"\0", r"\x00")
            if name == "pattern" and isinstance(value, str)
            else _plain(value)
            for name, value in schema.items()
        }
    return [_plain(one) for one in schema] if isinstance(schema, list | tuple) else schema


def page(told: dict[str, Any]) -> str:
    """The document as an HTML page, without scripts and files of other hosts. `told`: the OpenAPI
    document."""
    lines = ["<!doctype html><html lang=en><meta charset=utf-8>"]
    # Unquoted attributes and open paragraphs are valid HTML, and keep this short.
    lines += ["<meta name=viewport content='width=device-width'><title>CodeRunner: HTTP interface</title>"]
    lines += ["<h1>HTTP interface</h1><p><a href=openapi.json>OpenAPI 3.1</a></p>"]
    for path, methods in told["paths"].items():
        for method, one in methods.items():
            lines.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            lines.append(f"<p>{html.escape(one['summary'])}</p><ul>")
            lines += [
                f"<li><code>{html.escape(field['name'])}</code> ({field['in']})"
                for field in one["parameters"]
            ]
            content = one.get("requestBody", {}).get("content", {})
            lines += [f"<li>body: {_link(media)}" for media in content.values() if media]
            for status, answer in one["responses"].items():
                content = answer.get("content", {})
                told_as = [_link(media) if media else html.escape(name) for name, media in content.items()]
                lines.append(f"<li>{status}: {', '.join(told_as) or 'nothing'}")
            lines.append("</ul>")
    for name, schema in told["components"]["schemas"].items():
        lines.append(f"<h3 id={name}>{name}</h3><p>{html.escape(schema.get('description', ''))}</p>")
        text = msgspec.json.format(msgspec.json.encode(schema.get("properties", {})), indent=1).decode()
        lines.append(f"<pre>{html.escape(text)}</pre>")
    return "\n".join(lines) + "\n"


def _link(media: dict[str, Any]) -> str:
    name = media["schema"]["$ref"].rsplit("/", 1)[1]
    return f"<a href=#{name}>{name}</a>"
