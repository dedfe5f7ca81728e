"""Models of the container engine's documents, with only the fields that this server reads.

Other fields are skipped without being built. The names in JSON are the engine's. If the engine may send null
for an empty list or object, the field allows None.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

Labels = dict[str, str]
Id = Annotated[str, Meta(min_length=1)]  # an empty id in a URL would name a whole collection


class Component(Struct, frozen=True, rename="pascal"):
    """One of the programs that an engine is made of."""

    name: str = ""


class EngineVersion(Struct, frozen=True, rename="pascal"):
    """`GET /version`. API versions have the form `1.41`."""

    version: str = ""
    api_version: str = ""
    # Named explicitly: `rename="pascal"` would make MinApiVersion.
    min_api_version: str = field(name="MinAPIVersion", default="1.0")
    components: tuple[Component, ...] | None = None


class EngineFacts(Struct, frozen=True, rename="pascal"):
    """`GET /info`. `mem_total`: the host's memory in bytes; `ncpu`: its number of processors."""

    id: str = field(name="ID", default="")
    kernel_version: str = ""
    operating_system: str = ""
    cgroup_version: str = "1"  # engines that know no version 2 do not send it
    cgroup_driver: str = ""
    ncpu: int = field(name="NCPU", default=0)
    mem_total: int = 0
    default_runtime: str = ""
    security_options: tuple[str, ...] | None = None
    live_restore_enabled: bool = False
    runtimes: dict[str, object] | None = None
    docker_root_dir: str = ""


class Refusal(Struct, frozen=True):
    """The body of an error response."""

    message: str


class Created(Struct, frozen=True, rename="pascal"):
    """The answer to the creation of a container or a network."""

    id: Id


class ImageConfig(Struct, frozen=True, rename="pascal"):
    """The configuration that an image gives to its containers."""

    labels: Labels | None = None


class ImageDocument(Struct, frozen=True, rename="pascal"):
    """`GET /images/{name}/json`. `size` in bytes."""

    id: Id
    repo_tags: tuple[str, ...] | None = None
    config: ImageConfig | None = None
    size: int = 0


class ImageRow(Struct, frozen=True, rename="pascal"):
    """A row of `GET /images/json`."""

    id: Id
    repo_tags: tuple[str, ...] | None = None


class ImageStep(Struct, frozen=True, rename="pascal"):
    """A row of `GET /images/{name}/history`. `created` in seconds since 1970, `size` in bytes."""

    created_by: str
    created: int
    size: int


class RunState(Struct, frozen=True, rename="pascal"):
    """A container's state. Times are ISO 8601;
    the time of an event that has not happened is in the year 1."""

    status: str
    running: bool
    paused: bool
    exit_code: int
    pid: int
    started_at: str
    finished_at: str
    oom_killed: bool = field(name="OOMKilled")
    error: str = ""


class ContainerConfig(Struct, frozen=True, rename="pascal"):
    """A container's configuration. `image`: the name that was requested, not the image's id."""

    image: str
    labels: Labels | None = None


class ContainerHost(Struct, frozen=True, rename="pascal"):
    """What a container has from its machine. `runtime`: the engine's name for it."""

    runtime: str = ""


class ContainerDocument(Struct, frozen=True, rename="pascal"):
    """`GET /containers/{id}/json`. `name` begins with a slash."""

    id: Id
    name: str
    state: RunState
    config: ContainerConfig
    host_config: ContainerHost | None = None


class Endpoint(Struct, frozen=True, rename="pascal"):
    """A container's connection to a network; an address that it does not have is empty."""

    ip_address: str = field(name="IPAddress", default="")
    ipv6_address: str = field(name="GlobalIPv6Address", default="")


class NetworkSettings(Struct, frozen=True, rename="pascal"):
    """A container's networks, by their names."""

    networks: dict[str, Endpoint] | None = None


class ContainerNetworks(Struct, frozen=True, rename="pascal"):
    """`GET /containers/{id}/json`, reduced to the networks."""

    network_settings: NetworkSettings | None = None


class ContainerRow(Struct, frozen=True, rename="pascal"):
    """A row of `GET /containers/json`. `state` is one word, `created` seconds since 1970."""

    id: Id
    state: str
    image: str
    created: int
    names: tuple[str, ...] | None = None
    labels: Labels | None = None
    network_settings: NetworkSettings | None = None


class Ended(Struct, frozen=True, rename="pascal"):
    """`POST /containers/{id}/wait`: the container's exit code."""

    status_code: int


class Made(Struct, frozen=True, rename="pascal"):
    """`POST /containers/{id}/exec`: the command's id."""

    id: Id


class ExecDocument(Struct, frozen=True, rename="pascal"):
    """`GET /exec/{id}/json`. `exit_code`: null while it runs."""

    exit_code: int | None = None


class Volume(Struct, frozen=True, rename="pascal"):
    """A volume, in a list or by itself."""

    name: Id
    labels: Labels | None = None


class VolumeList(Struct, frozen=True, rename="pascal"):
    """`GET /volumes`."""

    volumes: tuple[Volume, ...] | None = None


class AddressRange(Struct, frozen=True, rename="pascal"):
    """`subnet`: in CIDR form, empty if the network has none."""

    subnet: str = ""


class AddressManagement(Struct, frozen=True, rename="pascal"):
    """A network's address ranges."""

    config: tuple[AddressRange, ...] | None = None


class NetworkRow(Struct, frozen=True, rename="pascal"):
    """A row of `GET /networks`. `created`: ISO 8601."""

    id: Id
    name: str
    created: str
    labels: Labels | None = None
    ipam: AddressManagement | None = field(name="IPAM", default=None)


class BuildStep(Struct, frozen=True):
    """A line of `POST /build`: output of the build, or why it failed."""

    stream: str | None = None
    error: str | None = None
