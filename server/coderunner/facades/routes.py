"""The routes of each facade, and which of them a server has."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import web

from coderunner.facades import jobe, judge0, judge0_submissions, piston, piston_socket
from coderunner.facades.callbacks import CALLBACKS, Callbacks
from coderunner.facades.jobe_files import FILES, Cache
from coderunner.facades.judge0_repeats import Repeats
from coderunner.web.api.cors import preflight
from coderunner.web.keys import PARTS


def _piston() -> Iterable[web.RouteDef]:
    for prefix in piston.PREFIXES:
        # Piston takes a slash at the end of a path, and some of its clients send one.
        for end in ("", "/"):
            yield web.get(f"{prefix}/runtimes{end}", piston.runtimes)
            yield web.get(f"{prefix}/packages{end}", piston.packages)
            yield web.post(f"{prefix}/execute{end}", piston.execute)
            yield web.get(f"{prefix}/connect{end}", piston_socket.connect)


def _judge0() -> Iterable[web.RouteDef]:
    for end in ("", "/"):
        yield web.post(f"/submissions{end}", judge0.create)
        yield web.get(f"/submissions{end}", judge0.index)
        yield web.post(f"/submissions/batch{end}", judge0.create_batch)
        yield web.get(f"/submissions/batch{end}", judge0.show_batch)
        yield web.get(f"/submissions/{{token}}{end}", judge0.show)
        yield web.delete(f"/submissions/{{token}}{end}", judge0.remove)
        yield web.get(f"/languages{end}", judge0.languages)
        yield web.get(f"/languages/all{end}", judge0.languages_all)
        yield web.get(f"/languages/{{id:[0-9]+}}{end}", judge0.language)
        yield web.get(f"/statuses{end}", judge0.statuses)
    for name in ("about", "version", "config_info", "system_info", "workers"):
        yield web.get(f"/{name}", getattr(judge0, name))
    yield web.post("/authenticate", judge0.authenticate)
    yield web.post("/authorize", judge0.authorize)


def _jobe() -> Iterable[web.RouteDef]:
    for end in ("", "/"):
        yield web.get(f"{jobe.PREFIX}/languages{end}", jobe.languages)
        yield web.post(f"{jobe.PREFIX}/runs{end}", jobe.run)
    yield web.put(jobe.PREFIX + "/files/{id:[A-Za-z0-9]{1,256}}", jobe.put_file)
    yield web.head(jobe.PREFIX + "/files/{id:[A-Za-z0-9]{1,256}}", jobe.head_file)


FACADES: dict[str, Callable[[], Iterable[web.RouteDef]]] = {
    "piston": _piston,
    "judge0": _judge0,
    "jobe": _jobe,
}
"""The routes of each, by its name in the setting FACADES."""


def install(app: web.Application) -> None:
    """Adds the routes of the facades in the setting FACADES, and those for CORS preflights."""
    parts, limits = app[PARTS], judge0_submissions.table().limits
    piston.table(), jobe.table()  # read now, as it would block the event loop later
    # Also without Judge0: a run of an earlier server may still have a callback.
    callbacks = app[CALLBACKS] = Callbacks(
        parts.settings.judge0_callback_hosts, limits.callbacks_max_tries, limits.callbacks_timeout
    )
    app.on_cleanup.append(lambda _: callbacks.close())
    again = Repeats()
    app.on_cleanup.append(lambda _: again.close())
    parts.runs.on_end.append(functools.partial(judge0.ended, parts, callbacks, again))
    app[jobe.TURN] = asyncio.Lock()
    if "jobe" in parts.settings.facades:
        app[FILES] = Cache(Path(parts.settings.state_dir) / f"{parts.settings.instance_name}.files")
    for name in parts.settings.facades:
        routes = list(FACADES[name]())
        app.add_routes(routes)
        app.add_routes([web.options(path, preflight) for path in dict.fromkeys(one.path for one in routes)])
