"""Models of the operator's interface below `/api/admin/`: queries, bodies and answers.

Times of day are seconds since 1970. The docstrings are published as descriptions at `/api/docs`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from coderunner.schema.answers import QueueBlock, WarmPoolBlock, WorkersBlock
from coderunner.schema.types import MAX_ROOMS, SCOPES, Room, Word, at_most, one_of, text, whole

MAX_NOTICE = 500  # characters
MAX_RECORDS = 1000  # of the log, in one answer
MAX_HOURS = 24 * 62  # for as long as figures are kept (`operating.history`)
ACTIONS = ("build", "renew", "prune")
STATES = ("running", "done", "failed", "cancelled")
LEVELS = ("debug", "info", "warning", "error", "critical")
MAX_TESTERS = 50
MAX_TEST_SECONDS = 300

# A line: what is shown in a terminal or written to the log must not have control characters.
Words = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NOTICE,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\x00-\x20\x7f-\x9f\u2028\u2029]"
        r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z",
        description=f"a text of 1 to {MAX_NOTICE} characters on one line, without control characters",
    ),
]


# --- what is asked ----------------------------------------------------------------------------------------


class SendNotice(Struct, frozen=True):
    """`POST .../notice`. `text`: is shown to everybody who is attached to the session."""

    text: Words


class EndSession(Struct, frozen=True):
    """`POST .../end`. `reason`: is shown to everybody who is attached to the session."""

    reason: Words


class SetDraining(Struct, frozen=True):
    """`PUT /api/admin/draining`. `draining`: true refuses new sessions, false takes them again."""

    draining: bool


class StartImages(Struct, frozen=True):
    """`POST /api/admin/images`. `action`: `build` makes what is missing, `renew` what has security updates,
    `prune` removes what no server uses. `languages`: their names; none for all (`prune` takes none)."""

    action: Annotated[str, one_of(ACTIONS)]
    languages: Annotated[tuple[Word, ...], at_most(256)] = ()


class StartLoadTest(Struct, frozen=True):
    """`POST /api/admin/load-tests`. `sessions`: at one time. `seconds`: after which no new one is opened."""

    sessions: Annotated[int, whole(1, MAX_TESTERS)] = 5
    seconds: Annotated[int, whole(1, MAX_TEST_SECONDS)] = 30
    language: Word = "python"


class HistoryQuery(Struct, frozen=True):
    """`GET /api/admin/history`. `hours`: how far back, a number from 1 to 1488."""

    hours: Annotated[str, Meta(pattern=r"^[0-9]{1,4}\Z", description="a number of hours")] = "24"


class ReportQuery(Struct, frozen=True):
    """`GET /api/admin/report`. `days`: how many, with today, a number from 1 to 62."""

    days: Annotated[str, Meta(pattern=r"^[0-9]{1,2}\Z", description="a number of days")] = "7"


class LogQuery(Struct, frozen=True):
    """`GET /api/admin/log`. `level`: the least severe one. `text`: is in the record, in any case. `after`:
    the number of the record after which to begin. `limit`: of records, the newest ones, up to 1000."""

    level: Annotated[str, one_of(LEVELS)] = "debug"
    text: Annotated[str, Meta(max_length=200, description="a text of at most 200 characters")] = ""
    after: Annotated[str, Meta(pattern=r"^[0-9]{1,15}\Z", description="a record's number")] = "0"
    limit: Annotated[str, Meta(pattern=r"^[0-9]{1,4}\Z", description="a number of records")] = "200"


class MakeKey(Struct, frozen=True):
    """`POST /api/admin/keys`. `roles`: besides `user`. `scopes`: what the roles are narrowed to; none for
    all. `days`: until it expires; null for never."""

    name: Annotated[str, text(100, minimum=1)]
    roles: Annotated[tuple[Annotated[str, one_of(("teacher", "operator"))], ...], at_most(2)] = ()
    rooms: Annotated[tuple[Room, ...], at_most(MAX_ROOMS)] = ()
    scopes: Annotated[tuple[Annotated[str, one_of(SCOPES)], ...], at_most(4)] = ()
    days: Annotated[float, Meta(gt=0, le=36500)] | None = None


# --- sessions ---------------------------------------------------------------------------------------------


class LiveSession(Struct, frozen=True):
    """A live session, as the operator sees it.

    `owner`: who opened it, null without a credential. `room`: whose teachers may watch it, or null. `state`:
    `running` while a program or shell runs, `idle`, or `away` while no client is attached. `age_s`: seconds
    since its opening. `cpu_percent`: of one processor, in the last seconds. `output_rate`: bytes a second of
    all programs. What cannot be read on this machine is null.
    """

    session: str
    owner: str | None
    address: str
    room: str | None
    language: str
    state: Annotated[str, one_of(("running", "idle", "away"))]
    opened: float
    age_s: int
    ends_s: int
    cpu_percent: float | None
    cpu_s: float | None
    memory_bytes: int | None
    memory_limit_bytes: int
    output_bytes: int
    output_rate: float | None
    programs: int
    attachments: int
    watched: bool
    group: str | None
    member: str | None
    container: str


class LiveSessions(Struct, frozen=True):
    """`GET /api/admin/sessions`: all live sessions, the oldest first."""

    sessions: tuple[LiveSession, ...]


class Ended(Struct, frozen=True):
    """`POST .../end`: the session that ends."""

    session: str


class Noticed(Struct, frozen=True):
    """`POST .../notice`. `attachments`: how many clients it was sent to; a client that comes back later does
    not get it."""

    session: str
    attachments: int


class WatchTicket(Struct, frozen=True):
    """`POST .../watch`. `token`: for `attach` with the role `watch`. `seconds`: in which it must be used the
    first time; whoever is attached with it stays so."""

    session: str
    token: str
    seconds: int


# --- the server -------------------------------------------------------------------------------------------


class Waiter(Struct, frozen=True):
    """A request that waits for a slot. `waited_s`: since when; `gives_up_s`: until it is refused."""

    position: int
    owner: str | None
    address: str
    language: str
    memory_bytes: int
    waited_s: float
    gives_up_s: float
    eta_s: float | None


class Engine(Struct, frozen=True):
    """The container engine; null where it does not answer."""

    version: str
    api_version: str
    kernel: str
    operating_system: str
    cgroup_version: int
    cpus: int
    memory_bytes: int
    default_runtime: str
    root: str


class Overview(Struct, frozen=True):
    """`GET /api/admin/overview`: the server now. `memory_bytes`: of its process."""

    version: str
    instance: str
    mode: str
    uptime_s: float
    draining: bool
    ready: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    websockets: int
    memory_bytes: int
    queue: QueueBlock
    waiting: tuple[Waiter, ...]
    worker_pool: WorkersBlock
    warm_pool: WarmPoolBlock
    engine: Engine | None


class Draining(Struct, frozen=True):
    """`PUT /api/admin/draining`. `sessions`: how many still live."""

    draining: bool
    sessions: int


class SettingInForce(Struct, frozen=True):
    """A setting. `value`: as it would be written in `.env`; `***` for a secret that is set. `default`: in
    this mode."""

    name: str
    value: str
    default: str
    secret: bool
    help: str


class SettingsInForce(Struct, frozen=True):
    """`GET /api/admin/settings`: all settings, in the order of docs/configuration.md."""

    settings: tuple[SettingInForce, ...]


class LogRecord(Struct, frozen=True):
    """A record of the log. `number`: increases with each. `fields`: as JSON, and "" without any."""

    number: int
    ts: str
    level: str
    logger: str
    msg: str
    fields: str


class Log(Struct, frozen=True):
    """`GET /api/admin/log`. `last`: the number of the newest record, also if it is not among these.
    `dropped`: how many were forgotten since the start, as memory for them is bounded."""

    records: tuple[LogRecord, ...]
    last: int
    dropped: int


# --- keys and quotas --------------------------------------------------------------------------------------


class KeyView(Struct, frozen=True, kw_only=True):
    """An API key, without its secret. `scopes`: null for all of its roles. `created`, `expires`, `last_used`:
    seconds since 1970, or null."""

    id: str
    name: str
    state: Annotated[str, one_of(("good", "expired", "revoked"))]
    roles: tuple[str, ...]
    rooms: tuple[str, ...]
    scopes: tuple[str, ...] | None
    created: float
    expires: float | None
    last_used: float | None


class Keys(Struct, frozen=True):
    """`GET /api/admin/keys`: all API keys, also those that open nothing any more."""

    keys: tuple[KeyView, ...]


class MadeKey(KeyView, frozen=True, kw_only=True):
    """`POST /api/admin/keys`: the new key. `key`: its text, which is told only here."""

    key: str


class RevokedKey(Struct, frozen=True):
    """`DELETE /api/admin/keys/{key}`: the key opens nothing any more. `id`: of the key."""

    id: str


class RoleQuota(Struct, frozen=True, kw_only=True):
    """The quotas of a role, of each of its callers. 0 is unlimited; `languages`: none for all."""

    role: str
    sessions: int
    runs_per_minute: int
    cpu_seconds_per_day: int
    output_bytes_per_day: int
    memory_bytes: int
    languages: tuple[str, ...]
    groups: bool
    background: bool


class CallerUse(Struct, frozen=True, kw_only=True):
    """What a caller has used of what is limited for it. `caller`: `principal:` and its id, or `address:` and
    a network. `runs`: in this minute; the others: on this day (UTC)."""

    caller: str
    runs: int
    cpu_ms: int
    output_bytes: int


class QuotasInForce(Struct, frozen=True):
    """`GET /api/admin/quotas`. `used`: by callers for whom something is limited, those with most processor
    time first; at most 200."""

    roles: tuple[RoleQuota, ...]
    used: tuple[CallerUse, ...]


# --- images -----------------------------------------------------------------------------------------------


class Image(Struct, frozen=True):
    """A language's image. `built`: when, null if it is missing. `status`, `message`: of the language."""

    language: str
    reference: str
    built: str | None
    status: str
    message: str


class Job(Struct, frozen=True):
    """Work on images. `lines`: the last ones that it has printed. `ended`: null while it runs."""

    id: str
    action: str
    languages: tuple[str, ...]
    state: Annotated[str, one_of(STATES)]
    began: float
    ended: float | None
    lines: tuple[str, ...]


class Images(Struct, frozen=True):
    """`GET /api/admin/images`. `jobs`: the last ones, the newest first."""

    images: tuple[Image, ...]
    jobs: tuple[Job, ...]


# --- figures over time ------------------------------------------------------------------------------------


class Times(Struct, frozen=True):
    """What was measured of one kind, in milliseconds. `p50`, `p95`: null where there was none."""

    count: int
    p50: float | None
    p95: float | None


class Figures(Struct, frozen=True):
    """Figures of a stretch of time, which begins at `t` and is `seconds` long.

    `sessions`, `waiting`: the most at one time. `opened`, `resumes`: how many. `ended`: by reason. `runs`,
    `live`: programs that ended, and the most sessions at one time, by language. `rooms`: the most sessions at
    one time, of the rooms with most of them; `other_rooms`: of all other rooms together.
    """

    t: int
    seconds: int
    sessions: int
    waiting: int
    opened: int
    failed: int
    resumes: int
    ended: dict[str, int]
    runs: dict[str, int]
    live: dict[str, int]
    rooms: dict[str, int]
    other_rooms: int
    start: Times
    first_byte: Times
    echo: Times
    queue_wait: Times
    loop_lag: Times


class History(Struct, frozen=True):
    """`GET /api/admin/history`. `step`: seconds from one point to the next. Points without a server are left
    out."""

    step: int
    points: tuple[Figures, ...]


# --- load test --------------------------------------------------------------------------------------------


class LoadFigures(Struct, frozen=True):
    """What a load test has measured, in milliseconds. `errors`: how often, by code or kind. `waiting`: how
    many of its users wait now, because the server has no place for them yet."""

    sessions: int = 0
    runs: int = 0
    keys: int = 0
    open: Times = Times(0, None, None)
    first_byte: Times = Times(0, None, None)
    echo: Times = Times(0, None, None)
    errors: dict[str, int] = {}
    waiting: int = 0


class LoadTest(Struct, frozen=True):
    """A load test. `progress`: from 0 to 1. `message`: why it failed, else ""."""

    id: str
    state: Annotated[str, one_of(STATES)]
    sessions: int
    seconds: int
    language: str
    began: float
    ended: float | None
    progress: float
    message: str
    figures: LoadFigures


class LoadTests(Struct, frozen=True):
    """`GET /api/admin/load-tests`: the one that runs and the last reports, the newest first."""

    tests: tuple[LoadTest, ...]
