"""Makes `Settings` from the environment and the text of a `.env` file, and reports all problems at once."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Collection, Mapping
from ipaddress import IPv4Network
from typing import Any

from coderunner.config import identity
from coderunner.config.envfile import Given, nearest, parse
from coderunner.errors import ConfigError
from coderunner.schema.forms import UNIX
from coderunner.schema.settings import EXAMPLE_ADMIN_KEY, SETTINGS, Setting, Settings

ENV_FILE = ".env"
KNOWN = {setting.name: setting for setting in SETTINGS}
# The environment belongs to other programs as well, so only a name that is very similar counts as misspelt.
_LIKENESS = 0.85
_NOT_OURS = frozenset({"LANGUAGE"})  # gettext's, similar to LANGUAGES
MIN_WATCHDOG_MS = 100  # a check takes milliseconds; a value of 1 is probably meant as a second
_SHORTEST = 6  # letters of a setting's name; shorter ones resemble too many variables of other programs


def load(
    environ: Mapping[str, str],
    env_file_text: str | None = None,
    *,
    file: str = ENV_FILE,
    languages: Collection[str] = (),
) -> Settings:
    """Returns the settings. The environment takes precedence over the file; an empty value means the default.

    `file`: the file's name, for messages. `languages`: those that LANGUAGES may name (empty: not checked).
    Raises ConfigError with all problems, each with the line of the file (or the environment) and what to
    write. Unknown names are a problem in the file; in the environment only if they resemble a setting's.
    """
    problems: list[str] = []
    given = parse(env_file_text or "", file, KNOWN, problems)
    problems += _misspelt(environ)
    # /dev/null is the usual way to ask for no file at all.
    empty = env_file_text is not None and not given and not problems and file != os.devnull
    if empty and "APP_ENV" not in environ:
        # An empty or truncated file would silently start a production server in development mode.
        problems.append(f"{file}: has no settings; write at least APP_ENV=production or APP_ENV=development")
    for name in KNOWN:
        if name in environ:
            # After the file's, so that an operator can override a setting for one start.
            given[name] = Given(environ[name].strip(), "environment")
    mode = given.get("APP_ENV")
    if mode is not None and not mode.text:
        problems.append(f"{mode.where}: APP_ENV is empty; write APP_ENV=production or APP_ENV=development")
    app_env = mode.text.lower() if mode is not None else ""
    values = {s.name: _value(s, given.get(s.name), app_env, problems) for s in SETTINGS}
    # Also when single values are wrong: all problems are reported at once.
    check = _Together(values, given, file, problems)
    check.mode()
    check.pairs()
    check.identity()
    check.languages(languages)
    values["INSTANCE_NAME"] = values["INSTANCE_NAME"] or _own_name(values["STATE_DIR"] or "")
    if problems:
        raise ConfigError(problems)
    return Settings(**{setting.field: values[setting.name] for setting in SETTINGS})


def _own_name(state_dir: str) -> str:
    """The default of INSTANCE_NAME, made from the path of STATE_DIR: the servers of two checkouts on one
    machine must not share a name, or each would remove the other's containers."""
    return f"coderunner-{hashlib.sha256(os.path.realpath(state_dir).encode()).hexdigest()[:8]}"


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """A problem for each variable of the environment whose name resembles a setting's."""
    long = [name for name in KNOWN if len(name) >= _SHORTEST]
    others = sorted(name for name in environ if name not in KNOWN and name not in _NOT_OURS)
    return [
        f"environment: there is no setting {name}; did you mean {near}? Otherwise unset it"
        for name in others
        if (near := nearest(name.upper(), long, _LIKENESS)) is not None
    ]


def _value(setting: Setting, given: Given | None, app_env: str, problems: list[str]) -> Any:
    """The value of a setting. None if it is unset or invalid; for an invalid one a problem is appended to
    `problems`."""
    text = given.text if given is not None else ""
    where = given.where if given is not None and text else "default"
    if not text:
        text = setting.default_for(app_env)
    if not text:
        return () if setting.is_list else None
    try:
        return setting.parse(text)
    except ValueError as problem:
        shown = "this value" if setting.doc.secret else f"{text[:80]!r}"
        problems.append(f"{where}: {setting.name} cannot be {shown}; write {problem}")
        return None


class _Together:
    """Checks the rules between settings, and appends problems to `problems`. `values`: by name, None for one
    that is unset or invalid by itself, which is reported already. `given`: the texts, and where they were
    set."""

    def __init__(
        self, values: dict[str, Any], given: dict[str, Given], file: str, problems: list[str]
    ) -> None:
        self._values = values
        self._given = given
        self._file = file
        self._problems = problems

    def _problem(self, name: str, text: str) -> None:
        """Appends a problem of a setting, with the place where it was set."""
        given = self._given.get(name)
        self._problems.append(f"{given.where if given is not None else self._file}: {name} {text}")

    def _text(self, name: str) -> str:
        """The text that a setting was given; "" without one."""
        return self._given[name].text if name in self._given else ""

    def _is_set(self, name: str) -> bool:
        """Whether a setting was given a value that is not empty."""
        return self._text(name) != ""

    def mode(self) -> None:
        """Checks what development forbids and production requires."""
        values = self._values
        meant = [one.name for one in SETTINGS if one.doc.required_in_production and self._is_set(one.name)]
        if "APP_ENV" not in self._given and meant:
            self._problem(
                "APP_ENV",
                f"is not set, but {' and '.join(meant)}; write APP_ENV=production, or APP_ENV=development",
            )
        if values["APP_ENV"] == "development":
            host = values["HOST"]
            # Development needs no admin key, so it must not be reachable from a network.
            if host is not None and not (_is_loopback(host) or host.startswith(UNIX)):
                self._problem(
                    "HOST",
                    f"is {host}, but in development only this machine may be served; write"
                    " HOST=127.0.0.1, or set APP_ENV=production",
                )
        if values["APP_ENV"] == "production":
            for setting in SETTINGS:
                if not setting.doc.required_in_production:
                    continue
                if not self._is_set(setting.name):
                    self._problem(setting.name, f"is required in production; {_advice(setting)}")
                elif not setting.doc.secret and self._text(setting.name) == setting.doc.example:
                    self._problem(
                        setting.name,
                        f"is still the example's; write your own instead of {setting.doc.example}",
                    )
            key = values["ADMIN_KEY"]
            # The rule of JWT_SECRET (`config.identity`).
            if key is not None and (len(key) < 32 or len(set(key)) < 8):
                self._problem(
                    "ADMIN_KEY",
                    "is too easy to guess (it needs 32 characters, at least 8 of them"
                    " different); write the output of: openssl rand -hex 32",
                )
            elif key == EXAMPLE_ADMIN_KEY:
                self._problem(
                    "ADMIN_KEY",
                    "is the example value, which is public; write the output of: openssl rand -hex 32",
                )

    def pairs(self) -> None:
        """Checks pairs of settings that bound each other."""
        values = self._values
        self._at_most("DOCKER_CMD_TIMEOUT", "DOCKER_TIMEOUT")
        self._at_most("SESSION_IDLE_TIMEOUT", "SESSION_TTL")
        self._at_most("SESSION_RESUME_MIN", "SESSION_RESUME_MAX")
        self._at_most("DOCKER_MEMORY", "SESSION_MEMORY")
        self._at_most("MAX_FILE_SIZE", "MAX_ARCHIVE_SIZE")
        if 0 < (values["WATCHDOG_INTERVAL"] or 0) < MIN_WATCHDOG_MS:
            self._problem(
                "WATCHDOG_INTERVAL",
                f"is {values['WATCHDOG_INTERVAL']} ms, which would keep the"
                f" server busy; write {MIN_WATCHDOG_MS} or more, or 0 for never",
            )
        if self._is_set("WARM_FLOOR") or None in (values["WARM_FLOOR"], values["WARM_MAX"]):
            self._at_most("WARM_FLOOR", "WARM_MAX")
        else:  # only the ceiling was lowered: the default floor follows without complaint
            values["WARM_FLOOR"] = min(values["WARM_FLOOR"], values["WARM_MAX"])
        sessions, warm = values["MAX_CONCURRENT_SESSIONS"], values["WARM_MAX"]
        # Each container, warm ones included, runs under a user id of its own.
        ids = values["SESSION_UID_COUNT"]
        if None not in (sessions, warm, ids) and ids < sessions + warm:
            self._problem(
                "SESSION_UID_COUNT",
                f"is {ids}, but MAX_CONCURRENT_SESSIONS + WARM_MAX is"
                f" {sessions + warm}; write SESSION_UID_COUNT={sessions + warm} or more",
            )
        if values["RELOAD"] == "on" and values["APP_ENV"] == "production":
            self._problem(
                "RELOAD",
                "is on, but APP_ENV is production: every change of a file would restart"
                " the server; write RELOAD=off, or remove the line",
            )
        groups, pool = values["MAX_GROUPS"], values["GROUP_ADDRESS_POOL"]
        # 16 addresses (a /28) for each group's network.
        if None not in (groups, pool) and (room := IPv4Network(pool).num_addresses // 16) < groups:
            self._problem(
                "GROUP_ADDRESS_POOL",
                f"is {pool}, which has addresses for {room} groups, but"
                f" MAX_GROUPS is {groups}; write a larger network, or MAX_GROUPS={room}",
            )

    def _at_most(self, small: str, large: str) -> None:
        """Checks that a setting is not above another one."""
        low, high = self._values[small], self._values[large]
        if low is None or high is None or low <= high:
            return
        # The one that somebody has set is named: a default cannot be the mistake.
        if small in self._given or large not in self._given:
            self._problem(small, f"is {low}, above {large}, which is {high}; lower it or raise {large}")
        else:
            self._problem(large, f"is {high}, below {small}, which is {low}; raise it or lower {small}")

    def identity(self) -> None:
        """Checks which credentials are taken."""
        for name, text in identity.problems(self._values):
            self._problem(name, text)

    def languages(self, known: Collection[str]) -> None:
        """Checks the names in LANGUAGES against the `known` ones (empty: not checked)."""
        for name in self._values["LANGUAGES"] or () if known else ():
            if name not in known:
                near = nearest(name, known, 0.5)
                hint = f"did you mean {near}?" if near else f"the languages are {', '.join(sorted(known))}"
                if name == "all":
                    hint = "write nothing for all"
                self._problem("LANGUAGES", f"names {name}, which is not a language; {hint}")


def _is_loopback(host: str) -> bool:
    """Whether an address or host name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _advice(setting: Setting) -> str:
    """What to write for a setting that production requires."""
    if setting.doc.secret:
        return f"write {setting.name}= and the output of: openssl rand -hex 32"
    return f"write for example {setting.name}={setting.doc.example}"
