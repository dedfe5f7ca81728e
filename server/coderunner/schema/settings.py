"""Every setting, once: name, type, bounds, default, unit, help. All else about settings is derived from here.

A field's name in capitals is the setting's. Durations are milliseconds, sizes bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import fields

from coderunner.schema import forms
from coderunner.schema.check import bare_of
from coderunner.schema.types import one_of, whole

DAY_MS = 24 * 3600 * 1000
EXAMPLE_ADMIN_KEY = "replace-me-with-the-output-of-openssl-rand-hex-32"


@dataclass(frozen=True, slots=True)
class Doc:
    """What is said of a setting. Defaults are texts as they would stand in `.env`; the empty text means "not
    set"."""

    default: str
    help: str
    unit: str = ""
    production_default: str | None = None
    """The default in production where it differs."""
    required_in_production: bool = False
    example: str = ""
    """What `.env.production.example` shows where there is no default."""
    secret: bool = False


class Settings(Struct, frozen=True, kw_only=True):
    """The settings as the program sees them: checked and frozen."""

    app_env: Annotated[
        str,
        one_of(("development", "production")),
        Doc(
            "development",
            "development: readable logs, loopback only. production: JSON logs, ADMIN_KEY and"
            " ALLOWED_HOSTS are required, attack probes run at start-up.",
        ),
    ]
    host: Annotated[
        str,
        forms.LISTENER,
        Doc(
            "127.0.0.1",
            "Address to listen on; in development a loopback address. `::` is every address of IPv6 and"
            " IPv4; `unix:/run/coderunner/http.sock` a socket in the file system, for the proxy on this"
            " machine alone.",
        ),
    ]
    port: Annotated[
        int,
        whole(0, 65535),
        Doc(
            "3000",
            "Port to listen on; 0 takes a free one and prints it.",
        ),
    ]
    reload: Annotated[
        str,
        one_of(("on", "off")),
        Doc(
            "on",
            "Restart when a source of the server changes; sessions live on. For work on CodeRunner"
            " itself.",
            production_default="off",
        ),
    ]
    log_level: Annotated[
        str,
        one_of(("debug", "info", "warning", "error")),
        Doc(
            "info",
            "How much is logged: debug, info, warning or error.",
        ),
    ]
    log_format: Annotated[
        str,
        one_of(("text", "json")),
        Doc(
            "text",
            "text for people, json (one object a line) for machines.",
            production_default="json",
        ),
    ]
    instance_name: Annotated[
        str,
        forms.NAME,
        Doc(
            "",
            "Names this server on its container engine. Two servers on one engine need two names; each"
            " touches only its own containers. Empty: one made from STATE_DIR's path, so that each"
            " checkout has its own.",
            production_default="coderunner",
        ),
    ]
    state_dir: Annotated[
        str,
        forms.FOLDER,
        Doc(
            ".run",
            "Folder for the lock, the sealing key, cached verdicts and the agents' sockets.",
            production_default="/var/lib/coderunner",
        ),
    ]
    shutdown_grace: Annotated[
        int,
        whole(0, 600_000), forms.DURATION,
        Doc(
            "10000",
            "How long a stopping server may take at most to say good-bye to its clients. Above 25000 the"
            " unit's TimeoutStopSec (30 s) must grow with it.",
            unit="ms",
        ),
    ]
    worker_threads: Annotated[
        int,
        whole(1, 64),
        Doc(
            "4",
            "Async workers: how many pieces of work the container engine is asked for at one time.",
        ),
    ]
    max_concurrent_sessions: Annotated[
        int,
        whole(1, 10_000),
        Doc(
            "50",
            "Slots: live sessions at one time.",
        ),
    ]
    max_queue_size: Annotated[
        int,
        whole(0, 100_000),
        Doc(
            "200",
            "Places in the queue for those who find no free slot; 0 means that nobody waits.",
        ),
    ]
    queue_timeout: Annotated[
        int,
        whole(1000, DAY_MS), forms.DURATION,
        Doc(
            "60000",
            "Longest wait in the queue.",
            unit="ms",
        ),
    ]
    sessions_per_address: Annotated[
        int,
        whole(0, 10_000),
        Doc(
            "0",
            "Live and waiting sessions of one client address; 0 is unlimited. Behind a proxy set"
            " TRUSTED_PROXIES, or all visitors share one address.",
            production_default="10",
        ),
    ]
    sessions_per_principal: Annotated[
        int,
        whole(0, 10_000),
        Doc(
            "0",
            "Live and waiting sessions of one authenticated caller; 0 is unlimited.",
            production_default="10",
        ),
    ]
    docker_host: Annotated[
        str | None,
        forms.ENGINE,
        Doc(
            "",
            "Where the container engine listens, for example unix:///var/run/docker.sock. Empty: the"
            " usual sockets.",
        ),
    ]
    session_memory: Annotated[
        int | None,
        forms.SIZE,
        Doc(
            "",
            "What the containers of all live sessions may use together, each counted with its limit; who"
            " does not fit waits in the queue. Empty: four times the machine's memory, as few use what"
            " they may.",
            unit="bytes, or with k, m, g",
        ),
    ]
    agent_stream: Annotated[
        str,
        one_of(("auto", "socket", "attach")),
        Doc(
            "auto",
            "How the server talks with the agents in the containers. socket: each connects to a Unix socket"
            " below STATE_DIR, which is mounted into its container. attach: over the engine, which is"
            " slower. auto: socket where the first containers show that it works.",
        ),
    ]
    docker_memory: Annotated[
        int,
        whole(32 * 1024**2, 1024**4), forms.SIZE,
        Doc(
            "256m",
            "Memory of a session; a language may ask for another amount.",
            unit="bytes, or with k, m, g",
        ),
    ]
    docker_cpus: Annotated[
        float,
        Meta(ge=0.05, le=1024),
        Doc(
            "1",
            "Processors of a session; fractions are allowed.",
            unit="processors",
        ),
    ]
    docker_timeout: Annotated[
        int,
        whole(1000, 600_000), forms.DURATION,
        Doc(
            "30000",
            "Longest time to provide a container for a session.",
            unit="ms",
        ),
    ]
    docker_cmd_timeout: Annotated[
        int,
        whole(500, 600_000), forms.DURATION,
        Doc(
            "10000",
            "Longest time of one engine call.",
            unit="ms",
        ),
    ]
    docker_runtime: Annotated[
        str | None,
        forms.NAME,
        Doc(
            "",
            "Container runtime, for example runsc. Empty: the engine's own default.",
        ),
    ]
    disk_read_limit: Annotated[
        tuple[str, Annotated[int, whole(1024**2, 1024**4)]] | None,
        forms.DISK_RATE,
        Doc(
            "",
            "What one session may read from the disk that has the images: the disk (no partition), a"
            " colon, and bytes a second, for example /dev/sda:50m. Empty: no limit.",
            unit="disk:bytes a second, with k, m or g",
        ),
    ]
    network_prefix: Annotated[
        str,
        forms.NAME,
        Doc(
            "coderunner",
            "How the names of containers and networks begin.",
        ),
    ]
    max_groups: Annotated[
        int,
        whole(0, 4096),
        Doc(
            "32",
            "Groups, sessions that share a private network, at one time; 0: none are offered.",
        ),
    ]
    group_members: Annotated[
        int,
        whole(2, 13),
        Doc(
            "8",
            "Sessions in one group, at most.",
        ),
    ]
    group_address_pool: Annotated[
        str,
        forms.ADDRESS_POOL,
        Doc(
            "10.213.0.0/16",
            "Where the groups' networks get their addresses, 16 for each. Private addresses that nothing"
            " else on the machine uses.",
        ),
    ]
    session_uid_base: Annotated[
        int,
        whole(1000, 2_000_000_000),
        Doc(
            "22048",
            "First user id for sessions; each live session runs under an id of its own. Two servers on"
            " one engine need ranges that do not overlap. Ids of 20000 to 24095 have a name in every"
            " image; for others each image gets one layer more.",
            production_default="20000",
        ),
    ]
    session_uid_count: Annotated[
        int,
        whole(2, 65_536),
        Doc(
            "1024",
            "How many user ids: at least MAX_CONCURRENT_SESSIONS + WARM_MAX, as every container needs"
            " one.",
        ),
    ]
    session_ttl: Annotated[
        int,
        whole(10_000, 30 * DAY_MS), forms.DURATION,
        Doc(
            "14400000",
            "Longest life of a session.",
            unit="ms",
        ),
    ]
    session_idle_timeout: Annotated[
        int,
        whole(1000, 30 * DAY_MS), forms.DURATION,
        Doc(
            "900000",
            "A session without input, run and live program ends after this time.",
            unit="ms",
        ),
    ]
    session_resume_min: Annotated[
        int,
        whole(1000, DAY_MS), forms.DURATION,
        Doc(
            "60000",
            "How long a session waits for a lost client while others want its slot.",
            unit="ms",
        ),
    ]
    session_resume_max: Annotated[
        int,
        whole(1000, DAY_MS), forms.DURATION,
        Doc(
            "900000",
            "How long a session waits for a lost client while nobody wants its slot.",
            unit="ms",
        ),
    ]
    view_ttl: Annotated[
        int,
        whole(1000, DAY_MS), forms.DURATION,
        Doc(
            "300000",
            "How long an address opens a file that a program made; while the page shows it, it is kept.",
            unit="ms",
        ),
    ]
    cleanup_interval: Annotated[
        int,
        whole(1000, DAY_MS), forms.DURATION,
        Doc(
            "60000",
            "How often containers of this instance that nobody owns are looked for and removed.",
            unit="ms",
        ),
    ]
    watchdog_interval: Annotated[
        int,
        whole(0, 60_000), forms.DURATION,
        Doc(
            "1000",
            "How often the server looks whether a session takes from the machine what no limit of its"
            " container counts; who takes too much is ended. 0: never.",
            unit="ms",
        ),
    ]
    buffer_memory: Annotated[
        int,
        whole(32 * 1024**2, 64 * 1024**3), forms.SIZE,
        Doc(
            "384m",
            "What all sessions together may make the server hold: output, input, files under way,"
            " messages for clients. Each alone may 24m. Where it is used up, who holds most is ended."
            " MemoryMax of the unit must be 400m above one and a half times this.",
            unit="bytes, or with k, m or g",
        ),
    ]
    max_file_size: Annotated[
        int,
        whole(1024, 4 * 1024**2), forms.SIZE,
        Doc(
            "1m",
            "Largest file of a project.",
            unit="bytes, or with k, m",
        ),
    ]
    max_archive_size: Annotated[
        int,
        whole(1024, 256 * 1024**2), forms.SIZE,
        Doc(
            "16m",
            "Largest zip or tar that a client may send to be unpacked.",
            unit="bytes, or with k, m",
        ),
    ]
    max_files_per_session: Annotated[
        int,
        whole(1, 4096),
        Doc(
            "256",
            "Most files that a client sends.",
        ),
    ]
    languages: Annotated[
        tuple[Annotated[str, forms.NAME], ...],
        Doc(
            "",
            "Names of the languages to offer, separated by commas. Empty: all that are installed.",
        ),
    ]
    warm_floor: Annotated[
        int,
        whole(0, 1000),
        Doc(
            "1",
            "Waiting containers that each language keeps at least, so that a session starts at once.",
        ),
    ]
    warm_max: Annotated[
        int,
        whole(0, 1000),
        Doc(
            "12",
            "Waiting containers of all languages together, at most.",
        ),
    ]
    canary: Annotated[
        str,
        one_of(("auto", "on", "off")),
        Doc(
            "auto",
            "Attack probes against the server's own containers at start-up; the server refuses to serve"
            " where a promised bound does not hold. auto: on in production, off in development.",
        ),
    ]
    allowed_hosts: Annotated[
        tuple[Annotated[str, forms.HOST_PORT], ...],
        Doc(
            "",
            "Host names under which the server is reached, separated by commas. Loopback names are always"
            " allowed in development.",
            required_in_production=True,
            example="coderunner.example.com",
        ),
    ]
    allowed_origins: Annotated[
        tuple[Annotated[str, forms.ORIGIN], ...],
        Doc(
            "",
            "Other origins whose pages may open sessions, separated by commas. The own origin always may.",
        ),
    ]
    trusted_proxies: Annotated[
        tuple[Annotated[str, forms.PROXY], ...],
        Doc(
            "",
            "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed,"
            " separated by commas.",
            production_default="127.0.0.1,::1",
        ),
    ]
    admin_key: Annotated[
        str | None,
        forms.SECRET,
        Doc(
            "",
            "Secret for the administrator's interfaces, 32 characters or more. Make one: openssl rand"
            " -hex 32",
            required_in_production=True,
            example=EXAMPLE_ADMIN_KEY,
            secret=True,
        ),
    ]

    @property
    def production(self) -> bool:
        """Whether strangers can reach it."""
        return self.app_env == "production"

    def __repr__(self) -> str:
        """Without its secrets."""
        shown = (f"{one.field}={getattr(self, one.field)!r}" for one in SETTINGS if not one.doc.secret)
        return f"Settings({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of `Settings`, as a setting is named in the environment."""

    field: str
    kind: Any
    doc: Doc

    @property
    def name(self) -> str:
        """As it is written in `.env`."""
        return self.field.upper()

    @property
    def help(self) -> str:
        """What it does, for the documents."""
        return self.doc.help

    @property
    def default(self) -> str:
        """The default as it would be written."""
        return self.doc.default

    @property
    def is_list(self) -> bool:
        """Whether it is several values with commas between them."""
        return forms.is_list(bare_of(self.kind))

    def parse(self, text: str) -> Any:
        """The value of a stripped, non-empty text.  Raises ValueError, whose text completes "write ..."."""
        return forms.read(self.kind, text)

    def default_for(self, app_env: str) -> str:
        """The default as it would be written, for a mode."""
        if app_env == "production" and self.doc.production_default is not None:
            return self.doc.production_default
        return self.doc.default


def _doc_of(kind: Any) -> Doc:
    return next(one for one in kind.__metadata__ if isinstance(one, Doc))


SETTINGS = tuple(Setting(one.name, one.type, _doc_of(one.type)) for one in fields(Settings))
