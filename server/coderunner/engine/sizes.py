"""Sizes of the languages' images and of the layers that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from coderunner.schema.languages import Language


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an image's history. Two images share a layer if it and all steps below are equal.

    `created`: unix seconds. `size`: bytes."""

    command: str
    created: int
    size: int


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes of an image, and of those of its layers that it shares with no other. `partners`: the images with
    which it shares the rest."""

    size: int
    own: int
    partners: tuple[str, ...]


def shares(histories: Mapping[str, Sequence[Step]]) -> dict[str, Share]:
    """The sizes of each image, by name. `histories`: the steps of each image, the oldest first."""
    found = {}
    for name, steps in histories.items():
        common = {other: _common(steps, histories[other]) for other in histories if other != name}
        most = max(common.values(), default=0)
        size = sum(step.size for step in steps)
        found[name] = Share(size, size - most, tuple(other for other, much in common.items() if much == most))
    return found


def _common(one: Sequence[Step], other: Sequence[Step]) -> int:
    """Bytes of the layers that both have in common."""
    # Only a common beginning is shared: a layer depends on all layers below it.
    return sum(a.size for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def total(histories: Mapping[str, Sequence[Step]]) -> int:
    """Bytes of all images together, with each layer counted once."""
    # A layer is identified by the whole history up to it.
    layers = {tuple(steps[: n + 1]): steps[n].size for steps in histories.values() for n in range(len(steps))}
    return sum(layers.values())


def markdown(languages: Mapping[str, Language], histories: Mapping[str, Sequence[Step]]) -> str:
    """The table of docs/languages.md. `histories`: the steps of each image, the oldest first."""
    lines = [
        "| language | name | version | image | not shared | rest shared with |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    found = shares(histories)
    for name in sorted(languages, key=lambda one: languages[one].title.lower()):
        language, share = languages[name], found[name]
        everybody = len(share.partners) > len(languages) / 2
        partners = "all" if everybody else ", ".join(languages[one].title for one in share.partners)
        lines.append(
            f"| {language.title} | `{name}` | {language.version} | {_megabytes(share.size)} |"
            f" {_megabytes(share.own)} | {partners} |"
        )
    lines += ["", f"All {len(languages)} together: {_megabytes(total(histories))}, each layer counted once."]
    return "\n".join(lines) + "\n"


def _megabytes(size: int) -> str:
    return f"{round(size / 1e6):,} MB"
