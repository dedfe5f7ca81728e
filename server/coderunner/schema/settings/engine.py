"""Settings of the engine, and of what a container may use."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from coderunner.schema import forms
from coderunner.schema.settings.doc import Doc
from coderunner.schema.settings.server import ServerSettings
from coderunner.schema.types import one_of, whole


class EngineSettings(ServerSettings, frozen=True, kw_only=True):
    """The engine, what a container may use of the machine, networks of groups, and user ids."""

    docker_host: Annotated[
        str | None,
        forms.ENGINE,
        Doc(
            "",
            "Address of the container engine, for example unix:///var/run/docker.sock. Empty: the first"
            " usual socket that exists.",
        ),
    ]
    session_memory: Annotated[
        int | None,
        forms.SIZE,
        Doc(
            "",
            "Most memory for all live sessions together, each counted with its limit; further sessions"
            " wait in the queue. Empty: four times the machine's memory, as few sessions reach their limit.",
            unit="bytes, or with k, m, g",
        ),
    ]
    agent_stream: Annotated[
        str,
        one_of(("auto", "socket", "attach")),
        Doc(
            "auto",
            "How the server is connected to the agents in the containers. socket: by a Unix socket below"
            " STATE_DIR, which is mounted into the container. attach: over the engine, which is slower."
            " auto: socket if the first containers show that it works, otherwise attach.",
        ),
    ]
    docker_memory: Annotated[
        int,
        whole(32 * 1024**2, 1024**4),
        forms.SIZE,
        Doc(
            "256m",
            "Memory limit of a session; a language may set another one.",
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
        whole(1000, 600_000),
        forms.DURATION,
        Doc(
            "30000",
            "Longest time to provide a container for a session.",
            unit="ms",
        ),
    ]
    docker_cmd_timeout: Annotated[
        int,
        whole(500, 600_000),
        forms.DURATION,
        Doc(
            "10000",
            "Longest time for one call of the engine.",
            unit="ms",
        ),
    ]
    docker_runtime: Annotated[
        str | None,
        forms.NAME,
        Doc(
            "",
            "Container runtime, for example runsc (gVisor). Empty: the engine's default.",
        ),
    ]
    disk_read_limit: Annotated[
        tuple[str, Annotated[int, whole(1024**2, 1024**4)]] | None,
        forms.DISK_RATE,
        Doc(
            "",
            "How fast a session may read from the disk with the engine's images: the disk (not a"
            " partition), a colon, and bytes per second, for example /dev/sda:50m. Empty: no limit.",
            unit="disk:bytes a second, with k, m or g",
        ),
    ]
    cgroup_parent: Annotated[
        str | None,
        forms.CGROUP,
        Doc(
            "",
            "The control group in which the containers are, each with its share of the processors: with the"
            " engine's driver systemd a slice, for example coderunner.slice, with cgroupfs a path; / gives"
            " each container the weight of a process outside of them. Empty: the engine's own.",
        ),
    ]
    network_prefix: Annotated[
        str,
        forms.NAME,
        Doc(
            "coderunner",
            "Prefix of the names of containers and networks.",
        ),
    ]
    max_groups: Annotated[
        int,
        whole(0, 4096),
        Doc(
            "32",
            "Most groups (sessions that share a private network) at one time; 0: no groups.",
        ),
    ]
    # 13: the 16 addresses of a group's network (/28) without the network's own, the broadcast address and the
    # host's.
    group_members: Annotated[
        int,
        whole(2, 13),
        Doc(
            "8",
            "Most sessions in one group.",
        ),
    ]
    group_address_pool: Annotated[
        str,
        forms.ADDRESS_POOL,
        Doc(
            "10.213.0.0/16",
            "Addresses for the networks of groups, 16 for each. They must be private addresses that nothing"
            " else on the machine uses.",
        ),
    ]
    # Development and production have different ones of the four ranges in docs/deployment.md, so that both
    # can run on one engine.
    session_uid_base: Annotated[
        int,
        whole(1000, 2_000_000_000),
        Doc(
            "22048",
            "First user id for sessions; each live session has a different one. Two servers on one engine"
            " need ranges that do not overlap. Ids from 20000 to 24095 have a name in every image; for"
            " others, each image gets another layer.",
            production_default="20000",
        ),
    ]
    session_uid_count: Annotated[
        int,
        whole(2, 65_536),
        Doc(
            "1024",
            "Number of user ids: at least MAX_CONCURRENT_SESSIONS + WARM_MAX, as every container needs one.",
        ),
    ]
