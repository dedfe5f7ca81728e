"""Every setting, once: name, kind, default, unit and help. All else about settings is derived from here."""

from __future__ import annotations

from dataclasses import dataclass

from coderunner.config import values
from coderunner.config.values import Parser

DAY_MS = 24 * 3600 * 1000
EXAMPLE_ADMIN_KEY = "replace-me-with-the-output-of-openssl-rand-hex-32"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting. Defaults are texts as they would stand in `.env`; the empty text means "not set"."""

    name: str
    parse: Parser
    default: str
    help: str
    unit: str = ""
    production_default: str | None = None
    """The default in production where it differs."""
    required_in_production: bool = False
    example: str = ""
    """What `.env.production.example` shows where there is no default."""
    is_list: bool = False
    secret: bool = False

    @property
    def field(self) -> str:
        return self.name.lower()

    def default_for(self, app_env: str) -> str:
        if app_env == "production" and self.production_default is not None:
            return self.production_default
        return self.default


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "APP_ENV", values.choice("development", "production"), "development",
        "development: readable logs, loopback only. production: JSON logs, ADMIN_KEY and ALLOWED_HOSTS"
        " are required, attack probes run at start-up.",
    ),
    Setting(
        "HOST", values.listener, "127.0.0.1",
        "Address to listen on; in development a loopback address. `::` is every address of IPv6 and IPv4;"
        " `unix:/run/coderunner/http.sock` a socket in the file system, for the proxy on this machine alone.",
    ),
    Setting("PORT", values.integer(0, 65535), "3000", "Port to listen on; 0 takes a free one and prints it."),
    Setting(
        "RELOAD", values.choice("on", "off"), "on",
        "Restart when a source of the server changes; sessions live on. For work on CodeRunner itself.",
        production_default="off",
    ),
    Setting(
        "LOG_LEVEL", values.choice("debug", "info", "warning", "error"), "info",
        "How much is logged: debug, info, warning or error.",
    ),
    Setting(
        "LOG_FORMAT", values.choice("text", "json"), "text",
        "text for people, json (one object a line) for machines.", production_default="json",
    ),
    Setting(
        "INSTANCE_NAME", values.name, "",
        "Names this server on its container engine. Two servers on one engine need two names; each touches"
        " only its own containers. Empty: one made from STATE_DIR's path, so that each checkout has its own.",
        production_default="coderunner",
    ),
    Setting(
        "STATE_DIR", values.folder, ".run", "Folder for the lock, the sealing key and cached verdicts.",
        production_default="/var/lib/coderunner",
    ),
    Setting(
        "SHUTDOWN_GRACE", values.milliseconds(0, 600_000), "10000",
        "How long a stopping server may take at most to say good-bye to its clients. Above 25000 the unit's"
        " TimeoutStopSec (30 s) must grow with it.", "ms",
    ),
    Setting(
        "WORKER_THREADS", values.integer(1, 64), "4",
        "Async workers: how many pieces of work the container engine is asked for at one time.",
    ),
    Setting("MAX_CONCURRENT_SESSIONS", values.integer(1, 10_000), "50", "Slots: live sessions at one time."),
    Setting(
        "MAX_QUEUE_SIZE", values.integer(0, 100_000), "200",
        "Places in the queue for those who find no free slot; 0 means that nobody waits.",
    ),
    Setting("QUEUE_TIMEOUT", values.milliseconds(1000, DAY_MS), "60000", "Longest wait in the queue.", "ms"),
    Setting(
        "SESSIONS_PER_ADDRESS", values.integer(0, 10_000), "0",
        "Live and waiting sessions of one client address; 0 is unlimited. Behind a proxy set TRUSTED_PROXIES,"
        " or all visitors share one address.", production_default="10",
    ),
    Setting(
        "SESSIONS_PER_PRINCIPAL", values.integer(0, 10_000), "0",
        "Live and waiting sessions of one authenticated caller; 0 is unlimited.", production_default="10",
    ),
    Setting(
        "DOCKER_HOST", values.engine, "",
        "Where the container engine listens, for example unix:///var/run/docker.sock. Empty: the usual"
        " sockets.",
    ),
    Setting(
        "DOCKER_MEMORY", values.size(32 * 1024**2, 1024**4), "256m",
        "Memory of a session; a language may ask for another amount.", "bytes, or with k, m, g",
    ),
    Setting(
        "DOCKER_CPUS", values.number(0.05, 1024), "1",
        "Processors of a session; fractions are allowed.", "processors",
    ),
    Setting(
        "DOCKER_TIMEOUT", values.milliseconds(1000, 600_000), "30000",
        "Longest time to provide a container for a session.", "ms",
    ),
    Setting(
        "DOCKER_CMD_TIMEOUT", values.milliseconds(500, 600_000), "10000",
        "Longest time of one engine call.", "ms",
    ),
    Setting(
        "DOCKER_RUNTIME", values.name, "",
        "Container runtime, for example runsc. Empty: the engine's own default.",
    ),
    Setting(
        "DISK_READ_LIMIT", values.disk_rate(1024**2, 1024**4), "",
        "What one session may read from the disk that has the images: the disk (no partition), a colon, and"
        " bytes a second, for example /dev/sda:50m. Empty: no limit.", "disk:bytes a second, with k, m or g",
    ),
    Setting("NETWORK_PREFIX", values.name, "coderunner", "How the names of containers and networks begin."),
    Setting(
        "MAX_GROUPS", values.integer(0, 4096), "32",
        "Groups, sessions that share a private network, at one time; 0: none are offered.",
    ),
    Setting(
        "GROUP_MEMBERS", values.integer(2, 13), "8", "Sessions in one group, at most.",
    ),
    Setting(
        "GROUP_ADDRESS_POOL", values.address_pool, "10.213.0.0/16",
        "Where the groups' networks get their addresses, 16 for each. Private addresses that nothing else on"
        " the machine uses.",
    ),
    Setting(
        "SESSION_UID_BASE", values.integer(1000, 2_000_000_000), "22048",
        "First user id for sessions; each live session runs under an id of its own. Two servers on one engine"
        " need ranges that do not overlap. Ids of 20000 to 24095 have a name in every image; for others each"
        " image gets one layer more.", production_default="20000",
    ),
    Setting(
        "SESSION_UID_COUNT", values.integer(2, 65_536), "1024",
        "How many user ids: at least MAX_CONCURRENT_SESSIONS + WARM_MAX, as every container needs one.",
    ),
    Setting(
        "SESSION_TTL", values.milliseconds(10_000, 30 * DAY_MS), "14400000",
        "Longest life of a session.", "ms",
    ),
    Setting(
        "SESSION_IDLE_TIMEOUT", values.milliseconds(1000, 30 * DAY_MS), "900000",
        "A session without input, run and live program ends after this time.", "ms",
    ),
    Setting(
        "SESSION_RESUME_MIN", values.milliseconds(1000, DAY_MS), "60000",
        "How long a session waits for a lost client while others want its slot.", "ms",
    ),
    Setting(
        "SESSION_RESUME_MAX", values.milliseconds(1000, DAY_MS), "900000",
        "How long a session waits for a lost client while nobody wants its slot.", "ms",
    ),
    Setting(
        "VIEW_TTL", values.milliseconds(1000, DAY_MS), "300000",
        "How long an address opens a file that a program made; while the page shows it, it is kept.", "ms",
    ),
    Setting(
        "CLEANUP_INTERVAL", values.milliseconds(1000, DAY_MS), "60000",
        "How often containers of this instance that nobody owns are looked for and removed.", "ms",
    ),
    Setting(
        "WATCHDOG_INTERVAL", values.milliseconds(0, 60_000), "1000",
        "How often the server looks whether a session takes from the machine what no limit of its container"
        " counts; who takes too much is ended. 0: never.", "ms",
    ),
    Setting(
        "BUFFER_MEMORY", values.size(32 * 1024**2, 64 * 1024**3), "384m",
        "What all sessions together may make the server hold: output, input, files under way, messages for"
        " clients. Each alone may 24m. Where it is used up, who holds most is ended. MemoryMax of the unit"
        " must be 400m above one and a half times this.", "bytes, or with k, m or g",
    ),
    Setting(
        "MAX_FILE_SIZE", values.size(1024, 4 * 1024**2), "1m",
        "Largest file of a project.", "bytes, or with k, m",
    ),
    Setting(
        "MAX_ARCHIVE_SIZE", values.size(1024, 256 * 1024**2), "16m",
        "Largest zip or tar that a client may send to be unpacked.", "bytes, or with k, m",
    ),
    Setting("MAX_FILES_PER_SESSION", values.integer(1, 4096), "256", "Most files that a client sends."),
    Setting(
        "LANGUAGES", values.items(values.name), "",
        "Names of the languages to offer, separated by commas. Empty: all that are installed.", is_list=True,
    ),
    Setting(
        "WARM_FLOOR", values.integer(0, 1000), "1",
        "Waiting containers that each language keeps at least, so that a session starts at once.",
    ),
    Setting(
        "WARM_MAX", values.integer(0, 1000), "12", "Waiting containers of all languages together, at most."
    ),
    Setting(
        "CANARY", values.choice("auto", "on", "off"), "auto",
        "Attack probes against the server's own containers at start-up; the server refuses to serve where a"
        " promised bound does not hold. auto: on in production, off in development.",
    ),
    Setting(
        "ALLOWED_HOSTS", values.items(values.host_port), "",
        "Host names under which the server is reached, separated by commas. Loopback names are always allowed"
        " in development.", required_in_production=True, example="coderunner.example.com", is_list=True,
    ),
    Setting(
        "ALLOWED_ORIGINS", values.items(values.origin), "",
        "Other origins whose pages may open sessions, separated by commas. The own origin always may.",
        is_list=True,
    ),
    Setting(
        "TRUSTED_PROXIES", values.items(values.proxy), "",
        "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, separated"
        " by commas.", production_default="127.0.0.1,::1", is_list=True,
    ),
    Setting(
        "ADMIN_KEY", values.secret, "",
        "Secret for the administrator's interfaces, 32 characters or more. Make one: openssl rand -hex 32",
        required_in_production=True, example=EXAMPLE_ADMIN_KEY, secret=True,
    ),
)
