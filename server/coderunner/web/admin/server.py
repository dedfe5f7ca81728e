"""The operator's view of the server: figures, settings, log, draining, images, load tests."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from msgspec import convert

import coderunner
from coderunner.config import SETTINGS, Settings
from coderunner.errors import BadMessage, EngineError, EngineUnavailable
from coderunner.logs import fields
from coderunner.operating import history
from coderunner.operating.images import Say
from coderunner.schema import messages as m
from coderunner.schema.admin import (
    MAX_HOURS,
    MAX_RECORDS,
    Draining,
    Engine,
    History,
    HistoryQuery,
    Image,
    Images,
    Job,
    LoadTest,
    LoadTests,
    Log,
    LogQuery,
    Overview,
    ReportQuery,
    SetDraining,
    SettingInForce,
    SettingsInForce,
    StartImages,
    StartLoadTest,
    Waiter,
)
from coderunner.web import guard
from coderunner.web.admin.room import ROOM, Builder
from coderunner.web.files import body_of
from coderunner.web.keys import PARTS, SOCKETS, Parts
from coderunner.web.replies import json_reply, query_of
from coderunner.web.stats import queue_stats

log = logging.getLogger(__name__)

_BEGAN = time.monotonic()
HIDDEN = "***"


async def overview(request: web.Request) -> web.Response:
    """Returns the server's state now: queue with waiters, workers, warm containers, engine."""
    parts = request.app[PARTS]
    reasons = await parts.ready()
    stats = queue_stats(
        timestamp="", queue=parts.registry.queue.stats(), workers=parts.workers.stats(),
        warm_pool=parts.warm.stats(), warnings=parts.catalog.warnings(),
    )  # fmt: skip
    warnings = (
        *parts.store.warnings(), *parts.surroundings.warnings(), *parts.agents.warnings(), *stats.warnings
    )  # fmt: skip
    return json_reply(
        Overview(
            version=coderunner.__version__,
            instance=parts.settings.instance_name,
            mode=parts.settings.app_env,
            uptime_s=round(time.monotonic() - _BEGAN, 1),
            draining=parts.registry.draining,
            ready=not reasons,
            reasons=tuple(reasons),
            warnings=warnings,
            websockets=len(request.app[SOCKETS]),
            memory_bytes=resident_bytes(),
            queue=stats.queue,
            waiting=_waiting(parts),
            worker_pool=stats.worker_pool,
            warm_pool=stats.warm_pool,
            engine=await _engine(request),
        )
    )


def resident_bytes() -> int:
    """Memory of this process now: the second figure of /proc/self/statm (proc(5)), in pages."""
    # Not `ru_maxrss` of getrusage(2), which is the most that it ever was.
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _waiting(parts: Parts) -> tuple[Waiter, ...]:
    timeout = parts.settings.queue_timeout / 1000
    return tuple(
        Waiter(
            position=position.position,
            owner=ticket.principal,
            address=ticket.address,
            language=ticket.language,
            memory_bytes=ticket.memory,
            waited_s=round(max(0.0, timeout - position.deadline_ms / 1000), 1),
            gives_up_s=round(position.deadline_ms / 1000, 1),
            eta_s=None if position.eta_ms is None else round(position.eta_ms / 1000, 1),
        )
        for ticket, position in parts.registry.queue.waiting()
    )


async def _engine(request: web.Request) -> Engine | None:
    try:
        return convert(await request.app[ROOM].engine.info(), Engine, from_attributes=True)
    except EngineError:
        return None


async def drain(request: web.Request) -> web.Response:
    """Starts or ends draining. While it lasts, new and queued sessions are refused with `draining`, and live
    ones continue. A restart ends it."""
    registry = request.app[PARTS].registry
    wanted = (await body_of(request, SetDraining)).draining
    if wanted != registry.draining:
        log.warning("draining" if wanted else "no longer draining", extra=_log_fields(request))
        registry.drain() if wanted else registry.resume()
    return json_reply(Draining(registry.draining, registry.queue.stats().active))


def _log_fields(request: web.Request, **more: object) -> dict[str, object]:
    settings = request.app[PARTS].settings
    return fields(operator_address=guard.address_of(settings, request), **more)


async def settings(request: web.Request) -> web.Response:
    """Returns all settings in force. Secrets are hidden."""
    return json_reply(SettingsInForce(tuple(in_force(request.app[PARTS].settings))))


def in_force(held: Settings) -> list[SettingInForce]:
    """All settings with their values, secrets hidden."""
    return [
        SettingInForce(
            one.name,
            _shown(getattr(held, one.field), secret=one.doc.secret),
            one.default_for(held.app_env),
            one.doc.secret,
            one.help,
        )
        for one in SETTINGS
    ]


def _shown(value: object, *, secret: bool) -> str:
    if value is None or value == "":
        return ""
    if secret:
        return HIDDEN
    if isinstance(value, tuple | list):
        return ",".join(_shown(one, secret=False) for one in value)
    return str(value)


async def records(request: web.Request) -> web.Response:
    """Returns the newest records of the log that fit a filter."""
    query = query_of(request, LogQuery)
    limit = min(MAX_RECORDS, int(query.limit))
    found: Log = request.app[ROOM].records.find(query.level, query.text, int(query.after), limit)
    return json_reply(found)


# --- over time --------------------------------------------------------------------------------------------


async def figures(request: web.Request) -> web.Response:
    """Returns figures over time, for charts; at most 300 points."""
    hours = min(MAX_HOURS, max(1, int(query_of(request, HistoryQuery).hours)))
    step, points = await request.app[ROOM].history.chart(hours)
    return json_reply(History(step, tuple(one.figures() for one in points)))


async def report(request: web.Request) -> web.Response:
    """Returns the daily report as CSV: a line a day (UTC), today's up to now."""
    days = max(1, int(query_of(request, ReportQuery).days))
    today = int(time.time()) // history.DAY * history.DAY
    points = await request.app[ROOM].history.since(today - (days - 1) * history.DAY, history.DAY)
    languages = sorted(request.app[PARTS].catalog.languages)
    told = [one.figures() for one in points if one.t >= today - (days - 1) * history.DAY]
    text = history.report(told, m.CLOSED_REASONS, languages)
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="coderunner-report.csv"',
    }
    return web.Response(text=text, content_type="text/csv", charset="utf-8", headers=headers)


# --- images -----------------------------------------------------------------------------------------------


async def images(request: web.Request) -> web.Response:
    """Lists the languages' images, and the work on them."""
    catalog, builder = request.app[PARTS].catalog, _builder(request)
    found = []
    for name in catalog.languages:
        state = catalog.state(name)
        reference = state.image or builder.reference(name)
        found.append(Image(name, reference, await builder.built(name), state.status, state.message))
    return json_reply(Images(tuple(found), request.app[ROOM].jobs.all()))


async def start_images(request: web.Request) -> web.Response:
    """Starts work on images, one job at a time, as the command line does it."""
    wanted = await body_of(request, StartImages)
    known = request.app[PARTS].catalog.languages
    for name in wanted.languages:
        if name not in known:
            raise BadMessage(
                f"there is no language {name[:64]!r} here; there are: {', '.join(sorted(known))}"
            )
    if wanted.action == "prune" and wanted.languages:
        raise BadMessage("prune takes no languages: it removes what no server uses")
    work = _work(request, wanted, wanted.languages or tuple(known))
    job: Job = request.app[ROOM].jobs.start(wanted.action, wanted.languages, work)
    log.info(
        "work on images", extra=_log_fields(request, action=wanted.action, languages=list(wanted.languages))
    )
    return json_reply(job, 202)


def _work(
    request: web.Request, wanted: StartImages, names: tuple[str, ...]
) -> Callable[[Say], Awaitable[None]]:
    builder, room, catalog = _builder(request), request.app[ROOM], request.app[PARTS].catalog

    async def build(say: Say) -> None:
        for name in names:
            if catalog.state(name).image is None and room.prepare is not None:
                say(f"{name}: being built")
                await room.prepare(name)
            say(f"{name}: {catalog.state(name).status} {catalog.state(name).message}".rstrip())

    async def renew(say: Say) -> None:
        renewed = await builder.renew(names, say)
        say(f"renewed: {', '.join(renewed) or 'nothing'}")
        if renewed:
            say("the server uses them after its next start")

    async def prune(say: Say) -> None:
        for tag in await builder.prune(tuple(catalog.languages)):
            say(f"removed {tag}")

    return {"build": build, "renew": renew, "prune": prune}[wanted.action]


def _builder(request: web.Request) -> Builder:
    builder = request.app[ROOM].builder
    if builder is None:
        raise EngineUnavailable("the server has just started; try again", retry_after_ms=1000)
    return builder


async def cancel_images(request: web.Request) -> web.Response:
    """Cancels work on images."""
    return json_reply(request.app[ROOM].jobs.cancel(request.match_info["job"]), 202)


# --- load tests -------------------------------------------------------------------------------------------


async def load_tests(request: web.Request) -> web.Response:
    """Lists the load tests: the one that runs, and the last reports."""
    return json_reply(LoadTests(request.app[ROOM].load_tests.all()))


async def start_load_test(request: web.Request) -> web.Response:
    """Starts a load test against this server. Its sessions take slots as those of users do."""
    wanted = await body_of(request, StartLoadTest)
    request.app[PARTS].catalog.image(wanted.language)  # raises where it cannot be used
    test: LoadTest = request.app[ROOM].load_tests.start(wanted)
    return json_reply(test, 202)


async def load_test(request: web.Request) -> web.Response:
    """Returns a load test with its figures up to now."""
    return json_reply(request.app[ROOM].load_tests.one(request.match_info["test"]))


async def cancel_load_test(request: web.Request) -> web.Response:
    """Ends a load test; its report has what was measured until then."""
    return json_reply(request.app[ROOM].load_tests.cancel(request.match_info["test"]), 202)
