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
            "Restart when a source of the server changes; sessions live on. For work on CodeRunner itself.",
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
        whole(0, 600_000),
        forms.DURATION,
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
        whole(1000, DAY_MS),
        forms.DURATION,
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
