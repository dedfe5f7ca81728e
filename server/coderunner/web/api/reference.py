"""Writes `docs/api.md` from the OpenAPI document: `python -m coderunner.web.api.reference`; with `--check` it
only compares."""

from __future__ import annotations

import argparse
import http
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coderunner.web.api.document import document

FILE = Path(__file__).parents[4] / "docs/api.md"
HEAD = """\
# The HTTP interface

All addresses below `/api/`, with their parameters, bodies and answers. Made from the models by which
requests are read (`scripts/schema.sh`; do not edit). A running server has the same at `/api/docs`, and as
OpenAPI 3.1 at `/api/openapi.json`. How they are used: [clients](clients.md), [graders](graders.md), the
[protocol](protocol.md).

Every refusal is a [`Problem`](#problem) (`application/problem+json`). All operations may answer 400, 415, 421
and 500; other refusals are named. `Authorization: Bearer` has a session's token below
`/api/sessions/{session}`, else a credential, where one is wanted.
"""
EVERYWHERE = {"400", "415", "421", "500"}


def main(arguments: list[str] | None = None, file: Path = FILE) -> int:
    """Writes the file if it differs; with `--check` it is only named. Returns the exit code: 1 for a
    difference that `--check` found."""
    parser = argparse.ArgumentParser(prog="python -m coderunner.web.api.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file differs")
    check = parser.parse_args(arguments).check
    from coderunner.web.routes import OPERATIONS  # its modules import this package

    text = markdown(document(OPERATIONS))
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return 0
    if check:
        print("docs/api.md is not what the models say; run scripts/schema.sh", file=sys.stderr)
        return 1
    file.write_text(text, encoding="utf-8")
    print("written: docs/api.md")
    return 0


def markdown(told: Mapping[str, Any]) -> str:
    """The text of `docs/api.md`. `told`: the OpenAPI document."""
    lines = [HEAD, "## Operations", ""]
    for path, methods in told["paths"].items():
        for method, one in methods.items():
            lines += [f"### `{method.upper()} {path}`", "", _prose(one["summary"]), "", *_operation(one), ""]
    lines += [
        "## Models",
        "",
        "A field without a default is always there in answers, and required in requests.",
        "",
    ]
    for name, schema in sorted(told["components"]["schemas"].items()):
        lines += [f"### {name}", ""]
        if schema.get("description"):
            lines += [_prose(schema["description"]), ""]
        lines += [*_fields(schema), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _operation(one: Mapping[str, Any]) -> Iterator[str]:
    for field in one["parameters"]:
        if field["in"] != "path":
            kind, usual = _kind(field["schema"]), field["schema"].get("default")
            default = f", default `{usual}`" if usual not in (None, "") else ""
            yield f"- {field['in']} `{field['name']}`: {kind}{default}"
    for media, content in one.get("requestBody", {}).get("content", {}).items():
        yield f"- body: {_kind(content['schema']) if content else ''} `{media}`".replace(":  ", ": ")
    refusals = []
    for status, answer in one["responses"].items():
        content = answer.get("content", {})
        if "application/problem+json" in content and len(content) == 1:
            refusals += [status] if status not in EVERYWHERE else []
            continue
        media = [_kind(told["schema"]) if told else f"`{name}`" for name, told in content.items()]
        yield f"- {status} {http.HTTPStatus(int(status)).phrase}: {', '.join(media) or 'no body'}"
    if refusals:
        yield f"- refused: {', '.join(refusals)}"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    required = set(schema.get("required", ()))
    found = schema.get("properties", {})
    if not found:
        return
    yield "| field | type | default |"
    yield "| --- | --- | --- |"
    for name, one in found.items():
        default = "" if name in required or "default" not in one else f"`{_told(one['default'])}`"
        yield f"| `{name}` | {_kind(one)} | {default or ('' if name in required else 'absent')} |"


def _told(value: Any) -> str:
    return json.dumps(value, default=list)


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in words, with its bounds."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[`{name}`](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema and "type" not in schema:
            return " or ".join(dict.fromkeys(_kind(one) for one in schema[several]))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{_told(one)}`" for one in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        bound = f", at most {schema['maxItems']}" if schema.get("maxItems", 1) > 1 else ""
        return f"list of {_kind(inner) if isinstance(inner, Mapping) else 'values'}{bound}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    return kind + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    if schema.get("contentEncoding"):
        return f" ({schema['contentEncoding']})"
    if schema.get("description"):
        return f" ({_cell(schema['description'])})"
    if "maxLength" in schema:
        return f" (at most {schema['maxLength']} characters)"
    if "minimum" in schema and "maximum" in schema:
        return f" ({schema['minimum']} to {schema['maximum']})"
    if "pattern" in schema:
        return f" (`{_cell(schema['pattern'])}`)"
    return ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _prose(text: str) -> str:
    """A description in lines of at most 120 characters."""
    lines, line = [], ""
    for word in re.split(r"\s+", text.strip()):
        if line and len(line) + 1 + len(word) > 120:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


if __name__ == "__main__":
    sys.exit(main())
