"""Validates documents against models, and describes all problems of an invalid one for users.

msgspec decides whether a document is valid, but stops at the first problem and words it for programmers. So
an invalid document is examined again, field by field: each problem gets the field's path and what is
expected. Valid documents do not take that way, and it never decides by itself.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct, ValidationError

MAX_PROBLEMS = 20
"""Problems of a request's body that its sender is told: 64 KB can have 8,000, which took 0.13 s to put into
words, and 0.8 MB to send."""
TOGETHER = 64  # elements of a list that are checked at once

Path = tuple[str | int, ...]
T = TypeVar("T")
S = TypeVar("S", bound=Struct)


@functools.cache
def fields_of(kind: type[Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """A model's fields, cached: msgspec evaluates the annotations at each call, which takes 0.3 ms."""
    return msgspec.structs.fields(kind)


class Problem(NamedTuple):
    """A problem of a document. `path`: names of fields and indices of lists.
    `words`: such as `must be ...`."""

    path: Path
    words: str

    def sentence(self, where: str) -> str:
        """The problem as a sentence, such as `run.files[2].path must be ...` if `where` is `run`."""
        for part in self.path:  # names come from the document, so they are shortened
            where += f"[{part}]" if isinstance(part, int) else f".{part[:64]}"
        return f"{where.removeprefix('.')} {self.words}".lstrip()


class Problems(ValueError):
    """Raised by a model's `__post_init__` if fields contradict each other:
    pairs of a field's name and words."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(" ".join(problem) for problem in problems))
        self.problems = problems


def problems(kind: Any, value: object, path: Path = ()) -> Iterator[Problem]:
    """Yields all problems of `value` (parsed JSON or TOML) as a `kind`; nothing if it is valid.

    `path`: where the value stands in its document.
    """
    if isinstance(value, list | Mapping) and not _fits_in_number(kind, value):
        # Before msgspec sees it: msgspec builds all elements of a list before it checks their number.
        yield Problem(path, f"must be {words_of(kind)}")
        return
    try:
        msgspec.convert(value, kind, str_keys=True)
        return
    # RecursionError: deeply nested brackets.
    except (ValidationError, RecursionError) as error:
        first = error
    bare = bare_of(kind)
    inside: Iterator[Problem] = iter(())
    if is_model(bare) and isinstance(value, Mapping):
        inside = _in_struct(bare, value, path)
        default = [Problem(path, str(first))]
    else:
        default = [Problem(path, f"must be {words_of(kind)}")]
        if get_origin(bare) is tuple and isinstance(value, list | tuple):
            inside = _in_list(get_args(bare)[0], value, path)
        elif get_origin(bare) is dict and isinstance(value, Mapping):
            inside = _in_table(kind, value, path)
    # The problem of a part is more exact than "must be a list"; that one is used only if all parts are valid.
    found = next(inside, None)
    if found is None:
        yield from default
    else:
        yield found
        yield from inside


def _in_list(kind: Any, value: Collection[Any], path: Path) -> Iterator[Problem]:
    """The problems of a list's elements."""
    items, several = list(value), types.GenericAlias(list, (kind,))
    for begin in range(0, len(items), TOGETHER):
        piece = items[begin : begin + TOGETHER]
        # Many at once, as of thousands usually few are wrong: one by one they took ten times as long.
        with contextlib.suppress(ValidationError, RecursionError):
            msgspec.convert(piece, several, str_keys=True)
            continue
        for index, item in enumerate(piece, begin):
            yield from problems(kind, item, (*path, index))


def _in_struct(kind: type[Struct], value: Mapping[Any, Any], path: Path) -> Iterator[Problem]:
    """The problems of a model's fields, and of unknown names if it forbids them."""
    fields = fields_of(kind)
    sound = True
    for field in fields:
        name = field.encode_name
        if name in value:
            for found in problems(field.type, value[name], (*path, name)):
                sound = False
                yield found
        elif field.required:
            sound = False
            yield Problem((*path, name), "is missing")
    if sound:  # `__post_init__` compares the fields with each other, which needs all of them to be valid
        try:
            # Without unknown names: these are reported below, with a hint.
            names = {field.encode_name for field in fields} | {kind.__struct_config__.tag_field}
            msgspec.convert({name: value[name] for name in value if name in names}, kind, str_keys=True)
        except ValidationError as error:
            yield from _own_problems(error, path)
    if kind.__struct_config__.forbid_unknown_fields:
        known = [field.encode_name for field in fields]
        words = getattr(kind, "unknown_words", "is not known")
        for name in value:
            if name not in known and name != kind.__struct_config__.tag_field:
                yield Problem((*path, str(name)), f"{words}; {hint(str(name), known)}")


def _in_table(kind: Any, value: Mapping[Any, Any], path: Path) -> Iterator[Problem]:
    """The problems of a table's names and values."""
    key, inner = get_args(bare_of(kind))
    own_words = (meta_of(kind).extra or {}).get("entry")
    for name, item in value.items():
        if own_words is not None and any(problems(types.GenericAlias(dict, (key, inner)), {name: item})):
            yield Problem(path, own_words.format(name=str(name)[:64]))
            continue
        try:
            # The name alone, with a value that always fits, to tell a wrong name from a wrong value.
            msgspec.convert({name: None}, types.GenericAlias(dict, (key, None)), str_keys=True)
        except ValidationError:
            yield Problem(path, f"has the name {str(name)[:64]!a}, which must be {words_of(key)}")
            continue
        yield from problems(inner, item, (*path, str(name)))


def _own_problems(error: Exception, path: Path) -> list[Problem]:
    """The problems that a model's `__post_init__` raised."""
    cause = error.__cause__
    if isinstance(cause, Problems):
        return [Problem((*path, name) if name else path, words) for name, words in cause.problems]
    return [Problem(path, str(cause or error).split(" - at `")[0])]  # msgspec appends the path, we prepend it


def _fits_in_number(kind: Any, value: Collection[object]) -> bool:
    """Whether a list or table has as many elements as its type allows."""
    most = meta_of(kind).max_length
    least = meta_of(kind).min_length
    return (most is None or len(value) <= most) and (least is None or len(value) >= least)


def hint(name: str, known: Collection[str], likeness: float = 0.6) -> str:
    """Returns `did you mean NAME?` if a known name is similar to `name`, else the list of known names.

    `likeness`: required similarity from 0 to 1, as `difflib.get_close_matches` has it.
    """
    # 0.6 is difflib's own default.
    near = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"


def is_model(kind: Any) -> bool:
    """Whether a type is a model."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def bare_of(kind: Any) -> Any:
    """The type without `Annotated`, `| None` and `| UnsetType`; a union of several types stays."""
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
    """The constraints of a field's type; an empty `Meta` if it has none."""
    if get_origin(kind) is Annotated:
        metas = [one for one in get_args(kind)[1:] if isinstance(one, Meta)]
        return metas[0] if metas else meta_of(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        inner = [one for one in get_args(kind) if one not in (type(None), msgspec.UnsetType)]
        return meta_of(inner[0]) if len(inner) == 1 else Meta()
    return Meta()


def choices_of(kind: Any) -> tuple[str, ...]:
    """The allowed words of a type made by `types.one_of`; empty for other types."""
    return tuple((meta_of(kind).extra or {}).get("choices", ()))


def words_of(kind: Any) -> str:
    """Describes the valid values of a type, as the end of the sentence "<field> must be ..."."""
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


def problems_in_json(kind: type[Struct], data: bytes) -> Iterator[Problem]:
    """As `problems`, for the text of an object that msgspec has refused.

    Unknown fields are not parsed: a large value there costs no memory. Raises ValueError or RecursionError if
    the text is no JSON object.
    """
    known = {field.encode_name for field in fields_of(kind)}
    # Raw: a slice of the text, which is not parsed yet.
    raw = msgspec.json.decode(data, type=dict[str, Raw])
    told = {name: msgspec.json.decode(raw[name]) for name in raw if name in known}
    if kind.__struct_config__.forbid_unknown_fields:
        told |= {name: None for name in raw if name not in known}
    return _in_struct(kind, told, ())


def as_far_as_right(kind: type[S], value: object) -> S:
    """Reads a model whose fields are all optional, leaving out the invalid ones. Never raises.

    A `value` that is no object counts as an empty one.
    """
    given: dict[str, Any] = {}
    for field in fields_of(kind):
        item = value.get(field.encode_name) if isinstance(value, Mapping) else None
        inner = bare_of(field.type)
        # Field by field: one wrong value of an agent must not hide the others.
        if is_model(inner) and isinstance(item, Mapping):
            given[field.name] = as_far_as_right(inner, item)
        elif item is not None:
            with contextlib.suppress(ValidationError, RecursionError):
                given[field.name] = msgspec.convert(item, field.type)
    return kind(**given)


class NotJson(ValueError):
    """Raised for a text that is no JSON object."""


def read_json(kind: type[S], data: bytes) -> S:
    """Parses a JSON object as a `kind`. Raises NotJson, or ValueError with the first MAX_PROBLEMS problems of
    the document."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        pass
    try:
        wrong = problems_in_json(kind, data)
        first = itertools.islice(wrong, MAX_PROBLEMS)
        found = [problem.sentence("" if problem.path else "the body") for problem in first]
        if next(wrong, None) is not None:
            found.append(f"and more than these {MAX_PROBLEMS}")
    except (ValueError, RecursionError):
        raise NotJson from None
    raise ValueError("; ".join(found) or "a field occurs twice")
