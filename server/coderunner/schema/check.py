"""Reads documents by the models, and says in plain words what is wrong with one.

msgspec judges, and stops at the first problem with words for programmers. Only then a document is looked at
again, field by field: each problem gets its path and what would be right. Nothing is judged here.
"""

from __future__ import annotations

import contextlib
import difflib
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct, ValidationError

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


def problems(kind: Any, value: object, where: str) -> Iterator[str]:
    """Sentences about all that is wrong with `value` as a `kind`; none where it is right.

    `value` is parsed JSON or TOML. `where` begins each path, as in `run.files[2].path must be ...`.
    """
    try:
        msgspec.convert(value, kind, str_keys=True)
        return
    except (ValidationError, RecursionError) as error:
        first = error
    bare = bare_of(kind)
    origin = get_origin(bare)
    found = False
    if is_model(bare) and isinstance(value, Mapping):
        for found_one in _in_struct(bare, value, where):
            found = True
            yield found_one
        if not found:  # the fields are right, and do not fit each other
            yield f"{where} {_own_words(first)}"
        return
    if origin is tuple and isinstance(value, list | tuple):
        (inner, _) = get_args(bare)
        for index, item in enumerate(value if _fits_in_number(kind, value) else ()):
            for found_one in problems(inner, item, f"{where}[{index}]"):
                found = True
                yield found_one
    elif origin is dict and isinstance(value, Mapping):
        key, inner = get_args(bare)
        for name, item in value.items() if _fits_in_number(kind, value) else ():
            for found_one in _in_entry(key, inner, name, item, where):
                found = True
                yield found_one
    if not found:
        yield f"{where} must be {words_of(kind)}"


def _in_struct(kind: type[Struct], value: Mapping[Any, Any], where: str) -> Iterator[str]:
    fields = msgspec.structs.fields(kind)
    for field in fields:
        path = f"{where}.{field.encode_name}" if where else field.encode_name
        if field.encode_name in value:
            yield from problems(field.type, value[field.encode_name], path)
        elif field.required:
            yield f"{path} is missing"
    if kind.__struct_config__.forbid_unknown_fields:
        known = [field.encode_name for field in fields]
        for name in value:
            if name not in known and name != kind.__struct_config__.tag_field:
                path = f"{where}.{name}" if where else str(name)
                yield f"{path} is not known; {hint(str(name), known)}"


def _in_entry(key: Any, inner: Any, name: object, item: object, where: str) -> Iterator[str]:
    try:
        msgspec.convert({name: None}, dict[key, None], str_keys=True)
    except ValidationError:
        yield f"a name in {where} must be {words_of(key)}"
        return
    yield from problems(inner, item, f"{where}.{str(name)[:64]}")


def _own_words(error: Exception) -> str:
    """Of a ValueError that a model's `__post_init__` raised: its words, without msgspec's path."""
    return str(error.__cause__ or error).split(" - at `")[0]


def _fits_in_number(kind: Any, value: Collection[object]) -> bool:
    most = meta_of(kind).max_length
    least = meta_of(kind).min_length
    return (most is None or len(value) <= most) and (least is None or len(value) >= least)


def hint(name: str, known: Collection[str], likeness: float = 0.6) -> str:
    """`did you mean NAME?` where one of `known` is alike, else what there is."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"


def is_model(kind: Any) -> bool:
    """Whether it is a model, and no other type."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def bare_of(kind: Any) -> Any:
    """The type inside of `Annotated` and `| None`."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            inner = [one for one in get_args(kind) if one not in (type(None), msgspec.UnsetType)]
            if len(inner) != 1:
                return kind
            kind = inner[0]
        else:
            return kind


def meta_of(kind: Any) -> Meta:
    """The bounds of a field's type; empty ones where it has none."""
    if get_origin(kind) is Annotated:
        metas = [one for one in get_args(kind)[1:] if isinstance(one, Meta)]
        return metas[0] if metas else meta_of(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        inner = [one for one in get_args(kind) if one not in (type(None), msgspec.UnsetType)]
        return meta_of(inner[0]) if len(inner) == 1 else Meta()
    return Meta()


def choices_of(kind: Any) -> tuple[str, ...]:
    """Of a field that is one of some words: these; of another: none."""
    return tuple((meta_of(kind).extra or {}).get("choices", ()))


def words_of(kind: Any) -> str:
    """What a value of this type is, as the end of the sentence "<field> must be ..."."""
    meta, bare = meta_of(kind), bare_of(kind)
    if meta.description:
        return meta.description
    if bare is bool:
        return "true or false"
    if bare is int:
        low, high = meta.ge, meta.le
        return "a whole number" if low is None else f"a whole number from {low} to {high}"
    if bare is str:
        bounds = f" of {meta.min_length or 0} to {meta.max_length} characters"
        return f"a text{bounds}" if meta.max_length else "a text"
    if bare is bytes:
        return "base64 with its padding"
    if get_origin(bare) is tuple:
        return f"a list of at most {meta.max_length}" if meta.max_length else "a list"
    if get_origin(bare) is dict:
        return f"an object of at most {meta.max_length} entries" if meta.max_length else "an object"
    if is_model(bare):
        return "an object"
    return "a number"


def problems_in_json(kind: type[Struct], data: bytes, where: str) -> Iterator[str]:
    """As `problems`, of the text of an object. What is in no field of `kind` is not built."""
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    raw = msgspec.json.decode(data, type=dict[str, Raw])
    return problems(kind, {name: msgspec.json.decode(raw[name]) for name in raw if name in known}, where)


def as_far_as_right(kind: type[S], value: object) -> S:
    """A model of whose fields each may be absent: what is wrong in `value` counts as absent, and all is if it
    is no object. Never raises."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        item = value.get(field.encode_name) if isinstance(value, Mapping) else None
        inner = bare_of(field.type)
        if is_model(inner) and isinstance(item, Mapping):
            given[field.name] = as_far_as_right(inner, item)
        elif item is not None:
            with contextlib.suppress(ValidationError, RecursionError):
                given[field.name] = msgspec.convert(item, field.type)
    return kind(**given)
