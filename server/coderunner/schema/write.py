"""Generates files from the models: `python -m coderunner.schema.write`; with `--check` it only compares.

    static/core/messages.js   for the page: a table for validating the server's messages, and JSDoc types
    docs/protocol.md          the two tables of messages
    wire/words.py             for the agent: the protocol's enumerations as plain constants
    wire/typed.py             for the agent's type checker: calls, what they start, answers and reports

In a table's row the fields come from a model's annotations, the description from its docstring.
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from coderunner.schema import calls, reports
from coderunner.schema import messages as m
from coderunner.schema.check import bare_of, choices_of, is_model, meta_of
from coderunner.schema.types import MAX_OFFSET, Note

ROOT = Path(__file__).parents[3]
MANY_CHOICES = 9
"""Enumerations with more words than this are not listed in a row; docs/protocol.md has a table for them."""


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Writes the files that differ; with `--check` only prints their names. Returns the exit code: 1 if
    `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m coderunner.schema.write", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something differs")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, make in MADE.items():
        path = root / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = make(old)
        if new == old:
            continue
        stale += 1
        if check:
            print(f"{name} is not what the models say; run scripts/schema.sh", file=sys.stderr)
        else:
            path.write_text(new, encoding="utf-8")
            print(f"written: {name}")
    return int(check and stale > 0)


# --- docs/protocol.md -----------------------------------------------------------------------------------


def protocol_document(old: str) -> str:
    """Returns the document `old` with the rows of both message tables regenerated."""
    rows = {"effect": m.ClientMessage, "meaning": m.ServerMessage}
    for column, messages in rows.items():
        head = f"| type | fields | {column} |\n| --- | --- | --- |\n"
        # Raises ValueError if the head is missing or there twice: the document has been restructured by hand.
        before, table = old.split(head)
        after = table[re.match(r"(\|.*\n)*", table).end() :]  # type: ignore[union-attr]
        old = before + head + "".join(_row(kind) for kind in get_args(messages)) + after
    return old


def _row(kind: type[Struct]) -> str:
    """A message's row of the table: type, fields, description."""
    cells = ", ".join(_cell(field) for field in fields(kind))
    words = " ".join((kind.__doc__ or "").split())
    return f"| `{kind.__struct_config__.tag}` | {cells}{' ' if cells else ''}| {words} |\n"


def _cell(field: FieldInfo) -> str:
    """A field in a row: its name, with `?` if it is optional, and a remark."""
    bare, choices = bare_of(field.type), choices_of(field.type)
    note = next((str(one) for one in getattr(field.type, "__metadata__", ()) if isinstance(one, Note)), "")
    if not note and 0 < len(choices) <= MANY_CHOICES:
        note = ", ".join(f"`{choice}`" for choice in choices)
    if not note and is_model(bare):
        note = _names(bare)
    if not note and get_origin(bare) is tuple and is_model(get_args(bare)[0]) and field.required:
        note = f"each: {_names(get_args(bare)[0])}"
    name = f"`{field.encode_name}{'' if field.required else '?'}`"
    return f"{name} ({note})" if note else name


def _names(kind: type[Struct]) -> str:
    """The names of a model's fields."""
    return ", ".join(f"`{field.encode_name}`" for field in fields(kind))


# --- static/core/messages.js ----------------------------------------------------------------------------

WIDTH = 118
_HEAD = """\
// Made from server/coderunner/schema by scripts/schema.sh; do not edit.
// What each message of the server must have, as codec.js reads it, and the types of all messages.
"""


def javascript(_: str) -> str:
    """Returns the text of `static/core/messages.js`."""
    parts: dict[str, type[Struct]] = {}
    table = [_entry(kind) for kind in get_args(m.ServerMessage)]
    typedefs = [_typedef(kind, parts) for kind in (*get_args(m.ClientMessage), *get_args(m.ServerMessage))]
    shared = [_typedef(kind, {}) for kind in parts.values()]
    unions = [
        f"/** @typedef {{{'|'.join(kind.__name__ for kind in get_args(messages))}}} {name} */\n"
        for name, messages in (("ClientMessage", m.ClientMessage), ("ServerMessage", m.ServerMessage))
    ]
    constant = f"export const PROTOCOL = {_quoted(m.PROTOCOL)};\n"
    constant += "\n// A program can be sent these, by a `signal`.\n"
    constant += f"export const SIGNALS = [{', '.join(map(_quoted, m.SIGNALS))}];\n"
    body = "export const SERVER = {\n" + "\n".join(table) + "\n};\n"
    return "\n".join([_HEAD, constant, body, *sorted(shared), *typedefs, *unions])


def _entry(kind: type[Struct]) -> str:
    """A message's entry in SERVER: its fields with their specifications."""
    members = [_member(field) for field in fields(kind)]
    name = kind.__struct_config__.tag
    line = f"  {name}: {{ {', '.join(members)} }},"
    # One line if it fits, as in files that are written by hand.
    if len(line) <= WIDTH:
        return line
    return f"  {name}: {{\n" + "".join(f"    {member},\n" for member in members) + "  },"


def _quoted(word: str) -> str:
    """A word as a literal of JavaScript."""
    return "'" + json.dumps(word)[1:-1] + "'"


def _spec(kind: Any) -> str:
    """A type in the notation that codec.js interprets: a word, a list of a word and its arguments, or an
    object with the specifications of its fields."""
    bare, meta, choices = bare_of(kind), meta_of(kind), choices_of(kind)
    if is_model(bare):
        return "{ " + ", ".join(_member(field) for field in fields(bare)) + " }" if fields(bare) else "{}"
    if choices:
        return f"['one', {', '.join(map(_quoted, choices))}]"
    if bare in (str, bool):
        return {str: "'text'", bool: "'truth'"}[bare]
    if bare is int:
        return "'natural'" if (meta.ge, meta.le) == (0, MAX_OFFSET) else f"['whole', {meta.ge}, {meta.le}]"
    if get_origin(bare) is tuple:
        return f"['list', {_spec(get_args(bare)[0])}]"
    if get_origin(bare) is dict:
        key, value = get_args(bare)
        return f"['map', {_spec(key)}, {_spec(value)}]"
    return "'number'"


def _member(field: FieldInfo) -> str:
    """A field's name and specification. With `?` it may be missing, with `null` it may be null."""
    spec = _spec(field.type)
    if not field.required:
        return f"'{field.encode_name}?': {spec}"
    return f"{field.encode_name}: " + (f"['null', {spec}]" if _may_be_null(field.type) else spec)


def _may_be_null(kind: Any) -> bool:
    """Whether None is a value of the type."""
    return type(None) in get_args(kind) or any(_may_be_null(one) for one in get_args(kind)[:1])


def _typedef(kind: type[Struct], parts: dict[str, type[Struct]]) -> str:
    """The JSDoc type of a message or part. `parts`: gets the models that it refers to, by name."""
    lines = [f" * @typedef {{object}} {kind.__name__}"]
    if isinstance(kind.__struct_config__.tag, str):
        lines.append(f" * @property {{{_quoted(kind.__struct_config__.tag)}}} type")
    for field in fields(kind):
        name = field.encode_name if field.required else f"[{field.encode_name}]"
        null = "|null" if _may_be_null(field.type) and field.required else ""
        lines.append(f" * @property {{{_js_type(field.type, parts)}{null}}} {name}")
    return "/**\n" + "\n".join(lines) + "\n */"


def _js_type(kind: Any, parts: dict[str, type[Struct]]) -> str:
    """A type as JSDoc writes it. `parts`: gets the models that it refers to, by name."""
    bare, choices = bare_of(kind), choices_of(kind)
    if is_model(bare):
        if bare.__name__ not in parts:
            parts[bare.__name__] = bare
            for field in fields(bare):
                _js_type(field.type, parts)
        return str(bare.__name__)
    if choices:
        return "|".join(map(_quoted, choices))
    if get_origin(bare) is tuple:
        inner = _js_type(get_args(bare)[0], parts)
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if get_origin(bare) is dict:
        return f"Object<string, {_js_type(get_args(bare)[1], parts)}>"
    simple = {str: "string", bool: "boolean", bytes: "string"}
    return simple.get(bare, "number")


# --- what the agent needs -------------------------------------------------------------------------------


def agents_words(_: str) -> str:
    """Returns the text of `wire/words.py`. The agent runs in containers without msgspec,
    and cannot import the models."""
    names = ("MODES", "PHASES", "STOPPED_BY")  # only those that the agent uses
    lines = [f"{name} = {_python(getattr(m, name))}\n" for name in names]
    return (
        '"""Words of the protocol, for the agent. Made by scripts/schema.sh from coderunner/schema."""\n\n'
        + "".join(lines)
    )


def _python(words: tuple[str, ...]) -> str:
    """A tuple of words as Python writes it, with double quotes."""
    return "(" + ", ".join(json.dumps(word) for word in words) + ")"


_TYPED_HEAD = '''\
"""What server and agent send each other, for a type checker.

Made by scripts/schema.sh from coderunner/schema. The agent never imports it at run time, as `typing` costs
each container a megabyte. A pair arrives as a list.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict
'''


def agents_types(_: str) -> str:
    """Returns the text of `wire/typed.py`: a TypedDict for each model of `calls` and `reports`."""
    kinds = [
        kind
        for module in (calls, reports)
        for kind in vars(module).values()
        if is_model(kind) and kind.__module__ == module.__name__ and kind is not calls.Call
    ]
    return _TYPED_HEAD + "".join(f"\n\n{_typed(kind)}" for kind in kinds)


def _typed(kind: type[Struct]) -> str:
    """The TypedDict of a model."""
    name, entries = (
        kind.__name__,
        {one.encode_name: _python_entry(kind.__name__, one) for one in fields(kind)},
    )
    # The form of a class cannot have a field like `from`.
    if any(map(keyword.iskeyword, entries)):
        inner = "".join(f'        "{one}": "{each}",\n' for one, each in entries.items())
        return f'{name} = TypedDict(\n    "{name}",\n    {{\n{inner}    }},\n)\n'
    inner = "".join(f"    {one}: {each}\n" for one, each in entries.items())
    head = f'class {name}(TypedDict):\n    """A `{kind.__module__}.{name}`."""\n'
    return f"{head}\n{inner}" if inner else head


# Fields that the server reads apart from the rest, each as a model.
_APART = {("ChannelState", "evidence"): "Evidence | None", ("Listed", "files"): "list[FileFound]"}


def _python_entry(name: str, field: FieldInfo) -> str:
    """The type of a model's field, `name` being the model's."""
    kind = _APART.get((name, field.encode_name)) or _python_type(field.type)
    return kind if field.required else f"NotRequired[{kind}]"


def _python_type(kind: Any) -> str:
    """A type as the agent's type checker sees it: JSON has no tuples, only lists."""
    if get_origin(kind) in (Union, UnionType):
        return " | ".join(_python_type(one) for one in get_args(kind))
    if get_origin(kind) is Annotated:
        return _python_type(get_args(kind)[0])
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[1:] == (...,):
            return f"list[{_python_type(inner[0])}]"
        return f"tuple[{', '.join(map(_python_type, inner))}]"
    if get_origin(kind) is dict:
        return f"dict[{', '.join(map(_python_type, get_args(kind)))}]"
    return "None" if kind is type(None) else "Any" if kind is Any else str(kind.__name__)


MADE: dict[str, Callable[[str], str]] = {
    "static/core/messages.js": javascript,
    "docs/protocol.md": protocol_document,
    "server/coderunner/wire/words.py": agents_words,
    "server/coderunner/wire/typed.py": agents_types,
}

if __name__ == "__main__":
    sys.exit(main())
