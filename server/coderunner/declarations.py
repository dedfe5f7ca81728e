"""Reads the languages folder: which languages there are, and the rules for limits."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from coderunner.core.languages import parse_language
from coderunner.core.limits import LimitRules, parse_rules
from coderunner.errors import ConfigError
from coderunner.schema.languages import Check, Demand, Hint, HintsFile, Language, sample_files
from coderunner.schema.toml import read_toml

FOLDER = Path(__file__).parent / "languages"


@dataclass(frozen=True, slots=True)
class Declarations:
    """`languages` in the order of their names; `folder` is where they were read.

    `demand`: all their names, the most used first.
    `checks`: programs of all languages that only test their images, by the name of what they test.
    """

    folder: Path
    languages: Mapping[str, Language]
    rules: LimitRules
    demand: list[str]
    checks: Mapping[str, Check]

    def samples(self, language: Language) -> dict[str, dict[str, bytes]]:
        """The files of each sample by the sample's name."""
        root = self.folder / language.name
        return {s.name: sample_files(s, lambda path: (root / path).read_bytes()) for s in language.samples}


def names(folder: Path = FOLDER) -> list[str]:
    """The names of all installed languages, sorted."""
    return sorted(file.parent.name for file in folder.glob("*/language.toml"))


def load(folder: Path = FOLDER, only: Iterable[str] = (), machine: str = platform.machine()) -> Declarations:
    """Reads every `<name>/language.toml` below `folder`, or those named in `only` (the setting LANGUAGES).

    Languages for other processors than `machine` are left out.

    Raises ConfigError with all problems of all files.
    """
    wanted = list(only)
    languages: dict[str, Language] = {}
    problems: list[str] = []
    hints = _hints(folder, problems)
    for file in sorted(folder.glob("*/language.toml")):
        if wanted and file.parent.name not in wanted:
            continue
        try:
            language = parse_language(file.read_text(encoding="utf-8"), file.parent.name)
        except ConfigError as error:
            problems += error.problems
            continue
        if language.machines and machine not in language.machines:
            if wanted:
                there = ", ".join(language.machines)
                problems.append(f"LANGUAGES: {language.name} is for {there}; this machine is {machine}")
            continue
        # A language's own first, as the first that fits is shown.
        languages[language.name] = replace(language, hints=language.hints + hints)
        problems += _missing_samples(file.parent, language)
    have = names(folder)
    problems += [
        f"LANGUAGES: there is no language {name}; there are {', '.join(have)}"
        for name in wanted
        if name not in have
    ]
    rules = None
    try:
        rules = parse_rules((folder / "limits.toml").read_text(encoding="utf-8"))
    except ConfigError as error:
        problems += error.problems
    demand = _demand(folder, languages, problems)
    checks = _checks(folder, problems)
    if problems or rules is None:
        raise ConfigError(problems)
    return Declarations(folder, languages, rules, demand, checks)


def _demand(folder: Path, languages: Mapping[str, Language], problems: list[str]) -> list[str]:
    try:
        order = read_toml(Demand, (folder / "demand.toml").read_text(encoding="utf-8"), "demand.toml").order
        # Languages that are not in the list, such as an operator's own, come last.
        return [name for name in order if name in languages] + [n for n in languages if n not in order]
    except FileNotFoundError:
        return list(languages)
    except ConfigError as error:
        problems += error.problems
        return []


def _hints(folder: Path, problems: list[str]) -> tuple[Hint, ...]:
    """The hints for all languages, which come after a language's own."""
    try:
        return read_toml(HintsFile, (folder / "hints.toml").read_text(encoding="utf-8"), "hints.toml").hints
    except FileNotFoundError:
        return ()
    except ConfigError as error:
        problems += error.problems
        return ()


def _checks(folder: Path, problems: list[str]) -> dict[str, Check]:
    found = {}
    for file in sorted(folder.glob("checks/*.toml")):
        try:
            found[file.stem] = read_toml(Check, file.read_text(encoding="utf-8"), f"checks/{file.name}")
        except ConfigError as error:
            problems += error.problems
    return found


def _missing_samples(folder: Path, language: Language) -> list[str]:
    return [
        f"languages/{folder.name}: samples/{sample.name}/{path} is missing"
        for sample in language.samples
        for path in sample.files
        if not (folder / "samples" / sample.name / path).is_file()
    ]
