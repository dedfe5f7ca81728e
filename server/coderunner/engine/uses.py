"""Records which server uses which images, on the engine itself, so that no server's `prune` removes
another's.

A record is an empty volume with labels. Containers alone do not show which images are in use: a server that
is starting has none yet, and a language that nobody opens never has one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

import docker
import docker.errors
from msgspec import convert

from coderunner.engine.containers import INSTANCE_LABEL
from coderunner.schema.engine import Volume, VolumeList

USES = "coderunner-uses"
IMAGES_LABEL = "coderunner.images"


def note(client: docker.APIClient, holder: str, instance: str, references: Collection[str]) -> None:
    """Records that `holder` (a name that no other server has) uses these images, and no others.

    `instance`: its INSTANCE_NAME. Raises docker.errors.APIError.
    """
    labels = {"type": USES, INSTANCE_LABEL: instance, IMAGES_LABEL: ",".join(sorted(references))}
    with contextlib.suppress(docker.errors.NotFound):
        # An unchanged record is kept: volumes cannot be relabelled, and removing it first would leave a gap.
        if convert(client.inspect_volume(_name(holder)), Volume).labels == labels:
            return
        client.remove_volume(_name(holder))
    client.create_volume(_name(holder), driver="local", labels=labels)


def forget(client: docker.APIClient, holder: str) -> None:
    """Removes the record of a server, if there is one. Raises docker.errors.APIError."""
    with contextlib.suppress(docker.errors.NotFound):
        client.remove_volume(_name(holder))


def all_of(client: docker.APIClient) -> dict[str, set[str]]:
    """The images that each holder has recorded as in use. Raises docker.errors.APIError."""
    answer = convert(client.volumes(filters={"label": f"type={USES}"}), VolumeList)
    return {
        one.name.removeprefix(f"{USES}-"): set((one.labels or {}).get(IMAGES_LABEL, "").split(","))
        for one in answer.volumes or ()
    }


def _name(holder: str) -> str:
    return f"{USES}-{holder}"
