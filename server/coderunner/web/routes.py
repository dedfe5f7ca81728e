"""All routes of the server in one table (`OPERATIONS`), and the small handlers.

The handlers' docstrings are published at `/api/docs`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import Struct
from msgspec.structs import replace

import coderunner
from coderunner.schema import admin as a
from coderunner.schema import messages as m
from coderunner.schema.answers import (
    Address,
    ArchiveUnpacked,
    FileLimits,
    FileList,
    FileMoved,
    FilesRemoved,
    FileWritten,
    FolderMade,
    GuestsView,
    Health,
    Invited,
    Languages,
    LanguageView,
    QueueStatistics,
    Ready,
    SampleFile,
    SampleView,
    SessionView,
    SignedOut,
    Uninvited,
    ViewsKept,
    WhoAmI,
)
from coderunner.schema.api import RunAnswer, RunQuery, RunRequest, RunStatus
from coderunner.schema.batches import BatchAnswer, BatchRequest, BatchStatus
from coderunner.schema.languages import Language
from coderunner.schema.rest import (
    ARCHIVES,
    DownloadQuery,
    Invite,
    KeepViews,
    LanguagesQuery,
    MakeFolder,
    MoveFile,
    UploadQuery,
    ViewQuery,
)
from coderunner.schema.rooms import HandedOuts, HandLowered, HandOutQuery, Tell, Told
from coderunner.schema.sessions import (
    Acted,
    ClientQuery,
    EventsQuery,
    InputRequest,
    KillRequest,
    OpenQuery,
    ProgramRequest,
    ResizeRequest,
    SessionEnded,
    SessionEvents,
    SessionList,
    SessionQueued,
    SessionRequest,
    ShellRequest,
    SignalRequest,
)
from coderunner.web import files, guard, guests, identity
from coderunner.web.admin import keys as admin_keys
from coderunner.web.admin import server as admin
from coderunner.web.admin import sessions as admin_sessions
from coderunner.web.admin.room import ROOM, Room
from coderunner.web.admin.routes import PREFIX, for_operators
from coderunner.web.api import document as describing
from coderunner.web.api import events, following, runs, sessions, teaching
from coderunner.web.api.bodies import Bodies
from coderunner.web.api.cors import across_origins, preflight
from coderunner.web.api.followers import FOLLOWERS, Followers
from coderunner.web.api.sending import SENDING, Sending
from coderunner.web.api.wall import WALLS, wall
from coderunner.web.keys import PARTS, SNAPSHOT, SOCKETS, TCP_CONNECTIONS, Parts
from coderunner.web.metrics import Snapshot, metrics
from coderunner.web.middleware import add_headers, guard_requests
from coderunner.web.page import ADMIN, WALL, WebClient, document_reply, smaller_json
from coderunner.web.replies import json_reply, query_of
from coderunner.web.sessions import session
from coderunner.web.stats import queue_stats
from coderunner.web.tcp_limits import TcpConnections
from coderunner.web.view import keep, view
from coderunner.web.ws import websocket

_STARTED: web.AppKey[float] = web.AppKey("started", float)
_CLIENT: web.AppKey[WebClient] = web.AppKey("client", WebClient)
_DOCUMENTS: web.AppKey[dict[str, LanguageView]] = web.AppKey("documents", dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """A route: one method of one path, with the models of its query, JSON body and JSON answer.

    `answer` is None if it is not JSON; `query` and `body` are None if they are not read or not JSON.
    `status`: of the answer; `also`: other statuses that are no refusals, with their models. `media`: media
    types of the answer beside or instead of JSON. `headers`: those that are read, of `document.HEADERS`.
    """

    method: str
    path: str
    handler: Handler
    answer: type[Struct] | None = None
    query: type[Struct] | None = None
    body: type[Struct] | None = None
    status: int = 200
    also: Mapping[int, type[Struct] | None] = field(default_factory=dict)
    media: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()

    def route(self) -> web.RouteDef:
        """The route for aiohttp. A GET route answers HEAD as well."""
        handler = across_origins(self.handler) if self.path.startswith(ACROSS) else self.handler
        if self.path.startswith(PREFIX):
            handler = for_operators(handler)
        # aiohttp adds HEAD.
        if self.method == "GET":
            return web.get(self.path, handler)
        return web.route(self.method, self.path, handler)


def application(parts: Parts, connections: TcpConnections, room: Room) -> web.Application:
    """Makes the aiohttp application: all routes, the middleware, and the parts for the handlers."""
    # The bound of a body that aiohttp reads as a whole;
    # files and archives are read in pieces, with their own.
    app = web.Application(middlewares=[guard_requests], client_max_size=64 * 1024)
    app.on_response_prepare.append(add_headers)
    app[PARTS] = parts
    app[ROOM] = room
    app[SOCKETS] = set()
    # Made last of the parts, as it reads all others when it is scraped.
    app[SNAPSHOT] = Snapshot(parts, app[SOCKETS]).registry
    app[TCP_CONNECTIONS] = connections
    app[_STARTED] = time.monotonic()  # a change of the wall clock must not change the uptime
    app[_CLIENT] = WebClient(parts.static, watched=not parts.settings.production)
    offered = parts.catalog.languages
    # The page selects the first ready language for a new user, so the most demanded ones come first.
    order = sorted(offered, key=lambda name: parts.declared.demand.index(name))
    # Made at the start: the samples' files are read once.
    app[_DOCUMENTS] = {name: _document(parts, offered[name]) for name in order}
    app[runs.BODIES] = Bodies()
    app[SENDING] = Sending()
    app[WALLS] = {}
    app[teaching.TRANSFERS] = set()
    app[FOLLOWERS] = Followers(parts.registry, parts.settings.session_resume_min / 1000)
    app.add_routes([operation.route() for operation in OPERATIONS])
    across = {operation.path for operation in OPERATIONS if operation.path.startswith(ACROSS)}
    app.add_routes([web.options(path, preflight) for path in across])
    app.add_routes([web.static("/static", parts.static, append_version=False)])
    return app


async def page(request: web.Request) -> web.Response:
    """Returns the web client's page."""
    return await document_reply(request, request.app[_CLIENT])


async def admin_page(request: web.Request) -> web.Response:
    """Returns the operator's page, which has no data of its own: it asks for a key."""
    return await document_reply(request, request.app[_CLIENT], ADMIN)


async def room_page(request: web.Request) -> web.Response:
    """Returns the page of a room's wall, which has no data of its own, whatever the room's name is."""
    return await document_reply(request, request.app[_CLIENT], WALL)


async def health(request: web.Request) -> web.Response:
    """Tells that the server process is alive. Does not check the engine: see `/api/ready`."""
    uptime = time.monotonic() - request.app[_STARTED]
    return json_reply(Health("ok", coderunner.__version__, round(uptime, 1)))


async def address(request: web.Request) -> web.Response:
    """Returns the caller's address as the server sees it, for testing a proxy's configuration."""
    return json_reply(Address(guard.address_of(request.app[PARTS].settings, request)))


async def ready(request: web.Request) -> web.Response:
    """Tells whether a session could start now. If not: status 503 and the reasons."""
    parts = request.app[PARTS]
    # An HTTP check every second must not ask the engine each time (`Readiness`).
    reasons = await parts.ready()
    document = Ready(
        ready=not reasons,
        reasons=tuple(reasons),
        languages=parts.catalog.summary(),
        degraded=tuple(parts.store.warnings()),
        warnings=(*parts.surroundings.warnings(), *parts.agents.warnings(), *parts.catalog.warnings()),
        confinement=parts.surroundings.confinement,
        agent_stream=parts.agents.kind,
    )
    # 503, so that a load balancer needs only the status.
    return json_reply(document, 503 if reasons else 200)


async def stats(request: web.Request) -> web.Response:
    """Returns the present figures of the queue, the worker pool and the warm pool."""
    parts = request.app[PARTS]
    document = queue_stats(
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        queue=parts.registry.queue.stats(),
        workers=parts.workers.stats(),
        warm_pool=parts.warm.stats(),
        warnings=parts.catalog.warnings(),
    )
    return json_reply(document)


async def languages(request: web.Request) -> web.Response:
    """Lists the languages with their status and sample programs. `want`: the language that the user has
    selected; if it is not ready, it is built next."""
    parts = request.app[PARTS]
    wanted = query_of(request, LanguagesQuery).want
    # Anything else in `want` is ignored: the list is the same.
    if wanted in parts.catalog.languages:
        parts.catalog.ask(wanted)
    rows = []
    for name, document in request.app[_DOCUMENTS].items():
        state = parts.catalog.state(name)
        rows.append(replace(document, status=state.status, message=state.message))
    return smaller_json(request, Languages(tuple(rows), FileLimits(files.largest(parts.settings))))


def _document(parts: Parts, language: Language) -> LanguageView:
    """The part of a language's view that does not change while the server runs, so it is made once."""
    contents = parts.declared.samples(language)
    # Samples are small: they are sent with the list, and the page needs no second request.
    samples = tuple(
        SampleView(
            name=sample.name,
            title=sample.title,
            entry=sample.entry,
            args=sample.args,
            stdin=sample.stdin,
            files=tuple(SampleFile(path, data.decode()) for path, data in contents[sample.name].items()),
        )
        for sample in language.samples
    )
    return LanguageView(
        name=language.name,
        title=language.title,
        version=language.version,
        entry=language.entry,
        editor=language.editor,
        extensions=language.extensions,
        indent=language.indent,
        repl=language.repl is not None,
        samples=samples,
    )


@functools.cache  # the description does not change while the server runs
def _described() -> tuple[bytes, str]:
    told = describing.document(OPERATIONS)
    return msgspec.json.encode(told), describing.page(told)


async def openapi(request: web.Request) -> web.Response:
    """Returns the description of this HTTP interface as OpenAPI 3.1."""
    return web.Response(body=_described()[0], content_type="application/json")


async def docs(request: web.Request) -> web.Response:
    """Returns the description of this HTTP interface as a page."""
    headers = {"Content-Security-Policy": describing.POLICY}
    return web.Response(text=_described()[1], content_type="text/html", headers=headers)


# `.+` in a path's pattern lets a file's path contain slashes.
_SESSION = "/api/sessions/{session}"
_FILE = _SESSION + "/files/{path:(?s:.+)}"
_RUN = "/api/runs/{run}"
_BATCH = "/api/batches/{batch}"
_ARCHIVE = _SESSION + "/archive"
_ROOM = "/api/rooms/{room}"

ACROSS = ("/api/run", "/api/batch", "/api/sessions")
"""Prefixes of paths that pages of other origins may use (CORS)."""

_LIVE = PREFIX + "sessions/{session}"
_TEST = PREFIX + "load-tests/{test}"

_BYTES = ("application/octet-stream",)
_EVENTS = (events.MEDIA,)
_FOLLOWED = ("Last-Event-ID",)
_RESUMED = ("Idempotency-Key", "Last-Event-ID")

OPERATIONS = (
    Operation("GET", "/", page),
    Operation("GET", "/admin", admin_page),
    Operation("GET", "/room/{room}", room_page),
    Operation("GET", "/ws", websocket),
    Operation("GET", "/ws/{session}", websocket),
    Operation("GET", "/api/health", health, Health),
    Operation("GET", "/api/ready", ready, Ready, also={503: Ready}),
    Operation("GET", "/api/address", address, Address),
    Operation("GET", "/api/identity", identity.who, WhoAmI),
    Operation("GET", "/auth/login", identity.login, status=302),
    Operation("GET", "/auth/callback", identity.callback, status=303),
    Operation("POST", "/auth/logout", identity.logout, SignedOut),
    Operation("GET", "/auth/lti/login", identity.lti_login, status=302),
    Operation("POST", "/auth/lti/login", identity.lti_login, status=302),
    Operation("POST", "/auth/lti/launch", identity.lti_launch, status=303),
    Operation("GET", "/auth/lti/keys", identity.lti_keys, media=("application/json",)),
    Operation("GET", "/api/openapi.json", openapi, media=("application/json",)),
    Operation("GET", "/api/docs", docs, media=("text/html",)),
    Operation("GET", "/api/queue-stats", stats, QueueStatistics),
    Operation("GET", "/metrics", metrics),
    Operation("GET", "/api/languages", languages, Languages, query=LanguagesQuery),
    Operation("GET", "/view/{session}/{capability}/{path:.+}", view, query=ViewQuery),
    Operation(
        "POST",
        "/api/sessions",
        sessions.open_session,
        m.Opened,
        query=OpenQuery,
        body=SessionRequest,
        status=201,
        also={202: SessionQueued},
        headers=("Idempotency-Key",),
    ),
    Operation("GET", "/api/sessions", sessions.list_sessions, SessionList),
    Operation("GET", _SESSION, session, SessionView),
    Operation("DELETE", _SESSION, sessions.end_session, SessionEnded),
    Operation(
        "GET",
        _SESSION + "/events",
        following.follow,
        SessionEvents,
        query=EventsQuery,
        also={204: None},
        media=_EVENTS,
        headers=("Last-Event-ID of a session",),
    ),
    Operation("POST", _SESSION + "/run", sessions.run, Acted, query=ClientQuery, body=ProgramRequest),
    Operation("POST", _SESSION + "/shell", sessions.shell, Acted, query=ClientQuery, body=ShellRequest),
    Operation("POST", _SESSION + "/input", sessions.type_input, Acted, query=ClientQuery, body=InputRequest),
    Operation("POST", _SESSION + "/resize", sessions.resize, Acted, query=ClientQuery, body=ResizeRequest),
    Operation("POST", _SESSION + "/signal", sessions.signal, Acted, query=ClientQuery, body=SignalRequest),
    Operation("POST", _SESSION + "/kill", sessions.kill, Acted, query=ClientQuery, body=KillRequest),
    Operation("POST", _SESSION + "/take", sessions.take, Acted, query=ClientQuery),
    Operation("POST", _SESSION + "/extend", sessions.extend, Acted, query=ClientQuery),
    Operation("POST", _SESSION + "/tokens", guests.invite, Invited, body=Invite, status=201),
    Operation("GET", _SESSION + "/tokens", guests.listing, GuestsView),
    Operation("DELETE", _SESSION + "/tokens/{serial}", guests.uninvite, Uninvited),
    Operation("POST", _SESSION + "/views", keep, ViewsKept, body=KeepViews),
    Operation("GET", _SESSION + "/files", files.listing, FileList),
    Operation("GET", _FILE, files.read, also={206: None, 416: None}, media=_BYTES, headers=("Range",)),
    Operation("PUT", _FILE, files.write, FileWritten),
    Operation("PATCH", _FILE, files.rename, FileMoved, body=MoveFile),
    Operation("POST", _FILE, files.make_folder, FolderMade, body=MakeFolder, status=201),
    Operation("DELETE", _FILE, files.remove, FilesRemoved),
    Operation("GET", _ARCHIVE, files.download, query=DownloadQuery, media=tuple(ARCHIVES.values())),
    Operation("PUT", _ARCHIVE, files.upload, ArchiveUnpacked, query=UploadQuery),
    Operation("POST", "/api/run", runs.run, RunAnswer, body=RunRequest, media=_EVENTS, headers=_RESUMED),
    Operation("GET", _RUN, runs.show, RunAnswer, query=RunQuery, also={202: RunStatus}),
    Operation("GET", _RUN + "/events", runs.follow, also={204: None}, media=_EVENTS, headers=_FOLLOWED),
    Operation("DELETE", _RUN, runs.cancel, RunStatus, status=202),
    Operation(
        "POST", "/api/batch", runs.grade, BatchAnswer, body=BatchRequest, media=_EVENTS, headers=_RESUMED
    ),
    Operation("GET", _BATCH, runs.show, BatchAnswer, query=RunQuery, also={202: BatchStatus}),
    Operation("GET", _BATCH + "/events", runs.follow, also={204: None}, media=_EVENTS, headers=_FOLLOWED),
    Operation("DELETE", _BATCH, runs.cancel, BatchStatus, status=202),
    Operation("GET", _ROOM + "/wall", wall, media=_EVENTS),
    Operation("POST", _ROOM + "/notices", teaching.tell, Told, body=Tell),
    Operation("PUT", _ROOM + "/project", teaching.hand_out, HandedOuts, query=HandOutQuery),
    Operation("GET", _ROOM + "/archive", teaching.collect, media=(ARCHIVES["zip"],)),
    Operation("DELETE", _ROOM + "/hands/{session}", teaching.lower, HandLowered),
    Operation("GET", PREFIX + "overview", admin.overview, a.Overview),
    Operation("GET", PREFIX + "sessions", admin_sessions.listing, a.LiveSessions),
    Operation("GET", _LIVE, admin_sessions.show, a.LiveSession),
    Operation("POST", _LIVE + "/notice", admin_sessions.notice, a.Noticed, body=a.SendNotice),
    Operation("POST", _LIVE + "/watch", admin_sessions.watch, a.WatchTicket, status=201),
    Operation("POST", _LIVE + "/end", admin_sessions.end, a.Ended, body=a.EndSession, status=202),
    Operation("PUT", PREFIX + "draining", admin.drain, a.Draining, body=a.SetDraining),
    Operation("GET", PREFIX + "settings", admin.settings, a.SettingsInForce),
    Operation("GET", PREFIX + "log", admin.records, a.Log, query=a.LogQuery),
    Operation("GET", PREFIX + "history", admin.figures, a.History, query=a.HistoryQuery),
    Operation("GET", PREFIX + "report", admin.report, query=a.ReportQuery, media=("text/csv",)),
    Operation("GET", PREFIX + "keys", admin_keys.listing, a.Keys),
    Operation("POST", PREFIX + "keys", admin_keys.make, a.MadeKey, body=a.MakeKey, status=201),
    Operation("DELETE", PREFIX + "keys/{key}", admin_keys.revoke, a.RevokedKey),
    Operation("GET", PREFIX + "quotas", admin_keys.quotas, a.QuotasInForce),
    Operation("GET", PREFIX + "images", admin.images, a.Images),
    Operation("POST", PREFIX + "images", admin.start_images, a.Job, body=a.StartImages, status=202),
    Operation("DELETE", PREFIX + "images/{job}", admin.cancel_images, a.Job, status=202),
    Operation("GET", PREFIX + "load-tests", admin.load_tests, a.LoadTests),
    Operation(
        "POST", PREFIX + "load-tests", admin.start_load_test, a.LoadTest, body=a.StartLoadTest, status=202
    ),
    Operation("GET", _TEST, admin.load_test, a.LoadTest),
    Operation("DELETE", _TEST, admin.cancel_load_test, a.LoadTest, status=202),
)
"""All routes except the page's static files. Refusals of those below /api/ are answered with `api.Problem`,
those of the page, the WebSocket and `middleware.py` for other paths with plain text. What is below
/api/admin/ is for operators alone."""
