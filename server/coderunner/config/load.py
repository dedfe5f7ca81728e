"""From the environment and the text of a `.env` file to `Settings`; every problem is reported at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from coderunner.config.declared import EXAMPLE_ADMIN_KEY, SETTINGS, Setting
from coderunner.config.settings import Settings
from coderunner.errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_LOOPBACK = ("localhost", "127.", "::1")


@dataclass(frozen=True, slots=True)
class _Given:
    """A value and where it stands, for the message about it."""

    text: str
    where: str


def load(environ: Mapping[str, str], env_file_text: str | None = None) -> Settings:
    """The environment goes before the file; an empty value means the default.

    Raises ConfigError with all problems: each names the line of `.env` (or the environment) and what to
    write.
    A name in the file that is no setting is a problem, too; other names in the environment are none.
    """
    problems: list[str] = []
    given = _read_file(env_file_text or "", problems)
    for setting in SETTINGS:
        if setting.name in environ:
            given[setting.name] = _Given(environ[setting.name].strip(), "environment")
    app_env = given["APP_ENV"].text.lower() if "APP_ENV" in given else ""
    values = {s.name: _value(s, given.get(s.name), app_env, problems) for s in SETTINGS}
    _check_together(values, given, problems)
    if problems:
        raise ConfigError(problems)
    return Settings(**{setting.field: values[setting.name] for setting in SETTINGS})


def _read_file(text: str, problems: list[str]) -> dict[str, _Given]:
    known = {setting.name for setting in SETTINGS}
    given: dict[str, _Given] = {}
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        where = f".env line {number}"
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"{where}: this is no setting; write NAME=value, or begin the line with #")
            continue
        name, value = match[1], _unquoted(match[2].strip())
        if name not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else "remove the line"
            problems.append(f"{where}: {name} is no setting; {hint}")
        elif name in given:
            problems.append(f"{where}: {name} stands already on {given[name].where.removeprefix('.env ')};"
                            " keep one of them")
        else:
            given[name] = _Given(value, where)
    return given


def _unquoted(value: str) -> str:
    """Quotes around the whole value are dropped; ` #` begins a comment outside of them."""
    if value[:1] in ("'", '"'):
        end = value.find(value[0], 1)
        rest = value[end + 1 :].strip()
        if end > 0 and (not rest or rest.startswith("#")):
            return value[1:end]
        return value
    if value.startswith("#"):
        return ""
    return re.split(r"\s#", value, maxsplit=1)[0].strip()


def _value(setting: Setting, given: _Given | None, app_env: str, problems: list[str]) -> Any:
    """The setting's value; None where it is unset or wrong (a wrong one is in `problems` then)."""
    text = given.text if given is not None else ""
    where = given.where if given is not None and text else "default"
    if not text:
        text = setting.default_for(app_env)
    if not text:
        if setting.required_in_production and app_env == "production":
            problems.append(_sentence(setting, given, f"is required in production; {_advice(setting)}"))
        return () if setting.is_list else None
    try:
        return setting.parse(text)
    except ValueError as problem:
        shown = "this value" if setting.secret else f"{text[:80]!r}"
        problems.append(f"{where}: {setting.name} cannot be {shown}; write {problem}")
        return None


def _sentence(setting: Setting, given: _Given | None, text: str) -> str:
    return f"{given.where if given is not None else '.env'}: {setting.name} {text}"


def _advice(setting: Setting) -> str:
    if setting.secret:
        return f"write {setting.name}= and the output of: openssl rand -hex 32"
    return f"write for example {setting.name}={setting.example}"


def _check_together(values: dict[str, Any], given: dict[str, _Given], problems: list[str]) -> None:
    """The rules between settings. A value that is None was wrong by itself, and is reported already."""
    by_name = {setting.name: setting for setting in SETTINGS}

    def problem(name: str, text: str) -> None:
        problems.append(_sentence(by_name[name], given.get(name), text))

    def at_most(small: str, large: str) -> None:
        low, high = values[small], values[large]
        if low is None or high is None or low <= high:
            return
        if small in given or large not in given:
            problem(small, f"is {low}, above {large}, which is {high}; lower it or raise {large}")
        else:
            problem(large, f"is {high}, below {small}, which is {low}; raise it or lower {small}")

    if values["APP_ENV"] == "development":
        host = values["HOST"]
        if host is not None and not (host in _LOOPBACK or host.startswith("127.")):
            problem("HOST", f"is {host}, but development serves the own machine only; write HOST=127.0.0.1,"
                    " or set APP_ENV=production")
    if values["APP_ENV"] == "production":
        key = values["ADMIN_KEY"]
        if key is not None and (len(key) < 32 or len(set(key)) < 8):
            problem("ADMIN_KEY", "is too easy to guess (it needs 32 characters, mixed); write the output of:"
                    " openssl rand -hex 32")
        elif key == EXAMPLE_ADMIN_KEY:
            problem("ADMIN_KEY", "is still the example's; write the output of: openssl rand -hex 32")
    at_most("DOCKER_CMD_TIMEOUT", "DOCKER_TIMEOUT")
    at_most("SESSION_IDLE_TIMEOUT", "SESSION_TTL")
    at_most("SESSION_RESUME_MIN", "SESSION_RESUME_MAX")
    sessions, warm, ids = (values[n] for n in ("MAX_CONCURRENT_SESSIONS", "WARM_MAX", "SESSION_UID_COUNT"))
    if None not in (sessions, warm, ids) and ids < sessions + warm:
        problem("SESSION_UID_COUNT", f"is {ids}, but MAX_CONCURRENT_SESSIONS + WARM_MAX is {sessions + warm};"
                f" write SESSION_UID_COUNT={sessions + warm} or more")
    groups, pool = values["MAX_GROUPS"], values["GROUP_ADDRESS_POOL"]
    if None not in (groups, pool) and (room := IPv4Network(pool).num_addresses // 16) < groups:
        problem("GROUP_ADDRESS_POOL", f"is {pool}, which has addresses for {room} groups, but MAX_GROUPS is"
                f" {groups}; write a larger network, or MAX_GROUPS={room}")
