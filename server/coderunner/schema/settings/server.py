"""Settings of the server itself: where it listens, what it logs, how many it serves."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from coderunner.schema import forms
from coderunner.schema.settings.doc import DAY_MS, Doc
from coderunner.schema.types import one_of, whole


class ServerSettings(Struct, frozen=True, kw_only=True):
    """Where the server listens, what it logs and keeps, and how many sessions it takes."""

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
            "Address to listen on; in development it must be a loopback address. `::` means all addresses,"
            " IPv6 and IPv4; `unix:/run/coderunner/http.sock` is a Unix socket, for a proxy on this"
            " machine.",
        ),
    ]
    port: Annotated[
        int,
        whole(0, 65535),
        Doc(
            "3000",
            "Port to listen on; with 0, the server chooses a free one and prints it.",
        ),
    ]
    reload: Annotated[
        str,
        one_of(("on", "off")),
        Doc(
            "on",
            "Whether the server restarts when one of its source files changes; sessions continue. For the"
            " development of CodeRunner itself.",
            production_default="off",
        ),
    ]
    log_level: Annotated[
        str,
        one_of(("debug", "info", "warning", "error")),
        Doc(
            "info",
            "Least severe level that is logged: debug, info, warning or error.",
        ),
    ]
    log_format: Annotated[
        str,
        one_of(("text", "json")),
        Doc(
            "text",
            "Format of the log: text for people, json (one object a line) for machines.",
            production_default="json",
        ),
    ]
    instance_name: Annotated[
        str,
        forms.NAME,
        Doc(
            "",
            "Name of this server on its container engine. Two servers on one engine need different names;"
            " each uses only its own containers. Empty: made from the path of STATE_DIR, so that each"
            " checkout has its own.",
            production_default="coderunner",
        ),
    ]
    state_dir: Annotated[
        str,
        forms.FOLDER,
        Doc(
            ".run",
            "Folder for the lock, the sealing key, the database (unless DATABASE_URL names another), the"
            " operator's charts, the canary's verdicts, stored runs and the agents' sockets.",
            production_default="/var/lib/coderunner",
        ),
    ]
    shutdown_grace: Annotated[
        int,
        whole(0, 600_000),
        forms.DURATION,
        Doc(
            "10000",
            "Longest time in which a stopping server sends its clients their last messages. For more than"
            " 25000, raise the unit's TimeoutStopSec (30 s) as well.",
            unit="ms",
        ),
    ]
    worker_threads: Annotated[
        int,
        whole(1, 64),
        Doc(
            "4",
            "Most jobs (such as creating or removing a container) that the engine gets at one time.",
        ),
    ]
    max_concurrent_sessions: Annotated[
        int,
        whole(1, 10_000),
        Doc(
            "50",
            "Most live sessions at one time.",
        ),
    ]
    max_queue_size: Annotated[
        int,
        whole(0, 100_000),
        Doc(
            "200",
            "Most requests for a session that wait in the queue; with 0, requests are refused if there is"
            " no free slot.",
        ),
    ]
    queue_timeout: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "60000",
            "Longest time in the queue.",
            unit="ms",
        ),
    ]
    sessions_per_address: Annotated[
        int,
        whole(0, 10_000),
        Doc(
            "0",
            "Most live and waiting sessions of one client address; 0: unlimited. Behind a proxy, set"
            " TRUSTED_PROXIES; otherwise all visitors share one address.",
            production_default="10",
        ),
    ]
    sessions_per_principal: Annotated[
        int,
        whole(0, 10_000),
        Doc(
            "0",
            "Most live and waiting sessions of one authenticated caller; 0: unlimited.",
            production_default="10",
        ),
    ]
