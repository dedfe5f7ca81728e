"""Finds out which version of the agent's protocol the running containers use, from the files in them."""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter

import docker
import docker.errors

from coderunner.engine.containers import INSTANCE_LABEL, ROLE_LABEL, SESSION_TYPE
from coderunner.engine.sdk import connected
from coderunner.errors import EngineUnavailable

SECONDS = 10  # for a call
SOURCE = "/opt/coderunner/coderunner/wire/__init__.py"
MOST = 64 * 1024  # bytes; a larger file is not the one expected


def spoken(host: str | None, instance: str) -> Counter[int | None]:
    """Counts the running containers of an instance by their protocol version; None: unknown.

    `host`: the engine's address, None for the default. `instance`: INSTANCE_NAME. Blocks the thread. Raises
    EngineUnavailable.
    """
    filters = {"label": [f"type={SESSION_TYPE}", f"{INSTANCE_LABEL}={instance}"]}
    known: dict[str, int | None] = {}
    found: Counter[int | None] = Counter()
    try:
        with connected(host, SECONDS) as client:
            # One look for each image and not for each container: containers of one image have the same agent.
            for one in client.containers(filters=filters):
                # Helpers of the canary and of groups have no agent.
                if ROLE_LABEL not in (one["Labels"] or {}):
                    if one["ImageID"] not in known:
                        known[one["ImageID"]] = _version(client, one["Id"])
                    found[known[one["ImageID"]]] += 1
    except docker.errors.APIError as error:
        raise EngineUnavailable(f"the container engine refused: {error.explanation or error}") from error
    return found


def _version(client: docker.APIClient, container: str) -> int | None:
    try:
        stream, _ = client.get_archive(container, SOURCE)
        data = b""
        for piece in stream:
            data += piece
            if len(data) > MOST:
                return None
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            # The first entry, or none: an empty name is a KeyError, which means unknown.
            file = archive.extractfile(archive.next() or tarfile.TarInfo())
            text = file.read().decode("utf-8", "replace") if file is not None else ""
    except (docker.errors.APIError, tarfile.TarError, KeyError):
        return None
    found = re.search(r"^VERSION = ([0-9]+)$", text, re.M)
    return int(found[1]) if found else None
