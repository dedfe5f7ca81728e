"""The OpenAPI document of the HTTP interface, made from the table of routes and its models."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
from aiohttp.typedefs import Handler
from msgspec import Struct

import coderunner
from coderunner.schema.answers import ErrorAnswer
from coderunner.schema.api import Problem

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_RUNS = re.compile(r"/api/(?:run|runs|batch|batches)(?:/|$)")
_NO_BEARER = re.compile(r"/api/(?:health|ready|queue-stats|languages|openapi\.json|docs)$")
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
        """The model of the answer; None where it is not JSON."""

    @property
    def query(self) -> type[Struct] | None:
        """The model of the query; None where the query is not read."""

    @property
    def body(self) -> type[Struct] | None:
        """The model of the body; None where it is not JSON."""


def document(operations: Iterable[Described]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all routes below /api/."""
    told = [one for one in operations if one.path.startswith("/api/")]
    models: set[type[Struct]] = {ErrorAnswer, Problem}
    for one in told:
        models |= {model for model in (one.answer, one.query, one.body) if model is not None}
    order = sorted(models, key=lambda model: model.__name__)
    schemas, components = msgspec.json.schema_components(order, ref_template=_REF)
    refs = dict(zip(order, schemas, strict=True))
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


def _operation(one: Described, refs: dict[type[Struct], Any], components: dict[str, Any]) -> dict[str, Any]:
    words = " ".join((one.handler.__doc__ or "").split())
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(one.path)
    ]
    if one.query is not None:
        for name, schema in components[one.query.__name__]["properties"].items():
            parameters.append({"name": name, "in": "query", "schema": _plain(schema)})
    fails = Problem if _RUNS.match(one.path) else ErrorAnswer
    media = "application/problem+json" if fails is Problem else "application/json"
    answer: dict[str, Any] = {"description": words or "Done"}
    if one.answer is not None:
        answer["content"] = {"application/json": {"schema": refs[one.answer]}}
    told: dict[str, Any] = {
        "operationId": one.method.lower() + re.sub("[^a-z]+", "_", _PARAMETER.sub(r"by_\1", one.path)),
        "summary": words,
        "parameters": parameters,
        "responses": {
            "2XX": answer,
            "default": {
                "description": "A refusal, with its code",
                "content": {media: {"schema": refs[fails]}},
            },
        },
        "security": [] if _NO_BEARER.search(one.path) else [{}, {"token": []}],
    }
    if one.body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[one.body]}},
        }
    elif one.method == "PUT":
        told["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    return told


def _plain(schema: Any) -> Any:
    """Patterns as the document's readers know them: they have no `\\Z`."""
    if isinstance(schema, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" and isinstance(value, str) else _plain(value)
            for name, value in schema.items()
        }
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema


def page(told: dict[str, Any]) -> str:
    """The document for people: one page without a script and without another host."""
    lines = ["<!doctype html><html lang=en><meta charset=utf-8>"]
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
            content = one["responses"]["2XX"].get("content", {})
            lines += [f"<li>answer: {_link(media)}" for media in content.values()]
            lines.append("</ul>")
    for name, schema in told["components"]["schemas"].items():
        lines.append(f"<h3 id={name}>{name}</h3><p>{html.escape(schema.get('description', ''))}</p>")
        text = msgspec.json.format(msgspec.json.encode(schema.get("properties", {})), indent=1).decode()
        lines.append(f"<pre>{html.escape(text)}</pre>")
    return "\n".join(lines) + "\n"


def _link(media: dict[str, Any]) -> str:
    name = media["schema"]["$ref"].rsplit("/", 1)[1]
    return f"<a href=#{name}>{name}</a>"
