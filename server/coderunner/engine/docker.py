"""The Docker Engine adapter: every call has a deadline, every library's error becomes one of `errors`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError
from msgspec import convert

from coderunner import metrics, timing
from coderunner.engine.attach import Address, AttachStream, open_attach
from coderunner.engine.containers import ContainerSpec, create_body
from coderunner.engine.faults import translated
from coderunner.engine.kinds import refuse_podman
from coderunner.engine.networks import Networks
from coderunner.engine.plain import PlainCalls
from coderunner.engine.states import (
    ContainerState,
    ContainerSummary,
    EngineInfo,
    ImageInfo,
)
from coderunner.errors import (
    ContainerGone,
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    ImageMissing,
    StartFailed,
)
from coderunner.logs import fields, outcome
from coderunner.schema.engine import (
    ContainerDocument,
    ContainerNetworks,
    ContainerRow,
    Ended,
    EngineFacts,
    EngineVersion,
    ImageDocument,
    VolumeList,
)

log = logging.getLogger(__name__)

OLDEST_API = (1, 41)  # Docker 20.10: the first with a private cgroup namespace
CONNECT_TIMEOUT_S = 5.0
MAX_EVENT = 1024 * 1024


def usual_socket(root: Path = Path("/"), home: Path | None = None) -> str:
    """The first engine socket that this user may use, else the first that exists, else where one belongs.

    The machine's engine goes before a rootless one of this user's, and that before Docker Desktop's.
    """
    places = [
        root / "var/run/docker.sock",
        root / "run/docker.sock",
        root / f"run/user/{os.getuid()}/docker.sock",
    ]
    with contextlib.suppress(RuntimeError):  # the user has no home directory
        places.append((home or Path.home()) / ".docker/run/docker.sock")
    there = [place for place in places if _is_socket(place)]
    usable = [place for place in there if os.access(place, os.R_OK | os.W_OK)]
    return "unix://" + str([*usable, *there, places[0]][0])


def _is_socket(place: Path) -> bool:
    try:
        return place.is_socket()
    except OSError:  # below a folder of somebody else's
        return False


class DockerEngine:
    """One engine. Holds no state of containers: what it says was asked at that moment.

    Every method may raise EngineUnavailable (no engine there, or it broke off) and EngineTimeout (no answer
    within the time of a call); what else a method raises stands with it.
    """

    def __init__(
        self, docker: aiodocker.Docker, plain: PlainCalls, address: Address, call_timeout_s: float
    ) -> None:
        self._docker = docker
        self._plain = plain
        self._address = address
        self._call_timeout_s = call_timeout_s
        self._version_known = False
        self.networks = Networks(plain, self._call)

    @classmethod
    @asynccontextmanager
    async def connect(cls, host: str | None, call_timeout_s: float) -> AsyncIterator[DockerEngine]:
        """The engine at `host` (`unix:///path` or `tcp://host:port`; None: the usual sockets).

        A call may take `call_timeout_s` seconds. Does not ask the engine anything: one that is down now may
        be up at the first call.
        """
        address = Address.parse(host or usual_socket())
        # No limit: events and waits hold a connection each. No connection is kept for a next call: one that
        # outlived a restart of the engine would fail the call that gets it, and a new one costs 0.1 ms.
        connector: aiohttp.BaseConnector
        if address.path:
            connector = aiohttp.UnixConnector(address.path, limit=0, force_close=True)
            url = "http://docker"
        else:
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            url = f"{'https' if address.tls else 'http'}://{address.host}:{address.port}"
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            read_bufsize=MAX_EVENT,
        )
        async with session:
            docker = aiodocker.Docker(url=url, connector=connector, session=session)
            plain = PlainCalls(session, url, lambda: docker.api_version)
            yield cls(docker, plain, address, call_timeout_s)

    # --- engine -------------------------------------------------------------------------------------

    async def info(self) -> EngineInfo:
        """Which engine this is and what it can do."""
        async with self._call("info"):
            version, info = await asyncio.gather(self._docker.version(), self._docker.system.info())
            facts = convert(version, EngineVersion), convert(info, EngineFacts)
            return EngineInfo.of(*facts, self._docker.api_version)

    async def ping(self) -> None:
        """Returns when the engine answers."""
        async with self._call("ping"):
            await self._plain.ask("GET", "_ping", object, versioned=False)

    async def image(self, reference: str) -> ImageInfo | None:
        """The image of this reference or id; None where there is none."""
        try:
            async with self._call("image inspect"):
                document = await self._docker.images.inspect(reference)
                return ImageInfo.of(convert(document, ImageDocument))
        except ImageMissing:
            return None

    # --- containers ---------------------------------------------------------------------------------

    async def create(self, spec: ContainerSpec) -> str:
        """Makes a container and returns its id. Raises ImageMissing, NameConflict, StartFailed."""
        return await self.create_from(create_body(spec), spec.name)

    async def create_from(self, body: Mapping[str, Any], name: str) -> str:
        """As `create`, from a request body as it goes to the engine."""
        async with self._call("create", refused=StartFailed):
            container = await self._docker.containers.create(dict(body), name=name)
        return container.id

    async def attach(self, container: str) -> AttachStream:
        """The container's streams. Attach before start: after it the first output may be gone.

        Raises ContainerGone. The caller closes the stream and reads it without pause until then.
        """
        async with self._call("attach"):
            return await open_attach(self._address, self._docker.api_version, container, self._call_timeout_s)

    async def start(self, container: str) -> None:
        """Raises ContainerGone, StartFailed with the engine's reason."""
        async with self._call("start", refused=StartFailed):
            await self._docker.containers.container(container).start()

    async def pause(self, container: str) -> None:
        """Freezes all processes of a container. Raises ContainerGone, StartFailed where it is refused."""
        async with self._call("pause", refused=StartFailed):
            await self._docker.containers.container(container).pause()

    async def unpause(self, container: str) -> None:
        """Resumes its processes; no error where it is not paused. Raises ContainerGone, StartFailed."""
        try:
            async with self._call("unpause", refused=StartFailed):
                await self._docker.containers.container(container).unpause()
        except StartFailed as error:
            if "not paused" not in error.message:
                raise

    async def wait(self, container: str, within_s: float) -> int:
        """Waits for the end of a container that was started; its exit code. Raises ContainerGone."""
        async with self._call("wait", within_s):
            answer = await self._docker.containers.container(container).wait(condition="not-running")
            return convert(answer, Ended).status_code

    async def remove(self, container: str) -> None:
        """Kills and removes; returns when it is gone, also when it was gone before."""
        handle = self._docker.containers.container(container)
        try:
            async with self._call("remove"):
                try:
                    await handle.delete(force=True, v=True)
                except DockerError as error:
                    if error.status != 409:  # 409: another call is removing it at this moment
                        raise
                    await handle.wait(condition="removed")
        except ContainerGone:
            pass

    async def inspect(self, container: str) -> ContainerState:
        """Raises ContainerGone."""
        async with self._call("inspect"):
            document = await self._docker.containers.container(container).show()
            return ContainerState.of(convert(document, ContainerDocument))

    async def networks_of(self, container: str) -> dict[str, str]:
        """The names of its networks, each with its address there, empty where it has none.

        Raises ContainerGone.
        """
        async with self._call("inspect"):
            document = await self._docker.containers.container(container).show()
            settings = convert(document, ContainerNetworks).network_settings
        joined = (settings and settings.networks) or {}
        return {name: one.ipv6_address or one.ip_address for name, one in joined.items()}

    async def inspect_raw(self, container: str) -> dict[str, Any]:
        """The engine's whole document, for the read-back of what it made. Raises ContainerGone."""
        async with self._call("inspect"):
            return await self._docker.containers.container(container).show()

    async def list(self, labels: Mapping[str, str]) -> list[ContainerSummary]:
        """All containers with these labels, running or not."""
        filters = json.dumps({"label": _label_filter(labels)})
        async with self._call("list"):
            params = {"all": "1", "filters": filters}
            rows = await self._plain.ask("GET", "containers/json", tuple[ContainerRow, ...], params=params)
            return [ContainerSummary.of(row) for row in rows]

    async def prune_volumes(self, labels: Mapping[str, str]) -> int:
        """Removes the unnamed volumes with these labels that no container has; how many.

        A container's own goes with it, unless somebody else removes it and leaves its volumes.
        """
        # Not the engine's own prune: that leaves volumes with options alone.
        filters = json.dumps({"label": _label_filter(labels), "dangling": ["true"]})
        async with self._call("volume list"):
            answer = await self._plain.ask("GET", "volumes", VolumeList, params={"filters": filters})
        removed = 0
        for volume in answer.volumes or ():
            with contextlib.suppress(EngineError):  # a container has it after all, or another removed it
                async with self._call("volume remove"):
                    await self._plain.ask("DELETE", f"volumes/{volume.name}", object)
                removed += 1
        return removed

    async def update(
        self, container: str, *, memory_bytes: int | None = None, pids: int | None = None
    ) -> None:
        """Changes limits of a container in place. Raises ContainerGone, StartFailed where it is refused.

        Memory cannot go below what is in use; swap stays off: both limits move together.
        """
        body: dict[str, int] = {}
        if memory_bytes is not None:
            body |= {"Memory": memory_bytes, "MemorySwap": memory_bytes}
        if pids is not None:
            body["PidsLimit"] = pids
        async with self._call("update", refused=StartFailed):
            await self._plain.ask("POST", f"containers/{container}/update", object, body=body)

    # --- one call -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def _call(
        self, what: str, within_s: float | None = None, refused: type[EngineError] = EngineUnavailable
    ) -> AsyncIterator[None]:
        """The frame of a call: its deadline, the API version agreed on, errors translated, its time logged.

        `refused` is what an answer becomes that says no and fits no better name.
        """
        began, error = time.monotonic(), None
        try:
            async with self._bounded(what, within_s, refused):
                yield
        except BaseException as failure:
            error = failure
            raise
        finally:
            seconds, told = time.monotonic() - began, outcome(error)
            metrics.engine_seconds.labels(what, told.get("error", "ok")).observe(seconds)
            log.debug("engine call", extra=fields(call=what, ms=round(seconds * 1000, 1), **told))

    @asynccontextmanager
    async def _bounded(
        self, what: str, within_s: float | None, refused: type[EngineError]
    ) -> AsyncIterator[None]:
        seconds = self._call_timeout_s if within_s is None else within_s
        try:
            async with timing.within(seconds):
                with translated(what, self._address, refused):
                    if not self._version_known:
                        await self._agree_on_version()
                    try:
                        yield
                    except DockerError as error:
                        # The engine was replaced by one that does not support the agreed version any more.
                        self._version_known = "client version" not in error.message
                        raise
        except TimeoutError:
            raise EngineTimeout(f"{what}: no answer from the engine within {seconds:g} s") from None

    async def _agree_on_version(self) -> None:
        """The lowest API version from ours up that the engine speaks: then a newer engine does the same."""
        version = await self._plain.ask("GET", "version", EngineVersion, versioned=False)
        refuse_podman(version)
        newest = _api(version.api_version)
        chosen = max(OLDEST_API, _api(version.min_api_version))
        if newest < chosen:
            raise EngineUnavailable(
                f"the engine at {self._address} is {version.version or 'too old'}"
                f" (API {version.api_version}); Docker Engine 20.10 (API 1.41) or newer is needed"
            )
        self._docker.api_version = f"v{chosen[0]}.{chosen[1]}"
        self._version_known = True


def _api(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _label_filter(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]
