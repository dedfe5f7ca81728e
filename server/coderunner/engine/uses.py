"""Which server uses which images: noted on the engine, which servers share, so that none prunes another's.

A record is an empty volume whose labels say it. A container would do as well for its own image, but a server
that starts has none yet, and a language that nobody opens never has.
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
    """`holder` (a name that no other has) uses these images, and no others any more."""
    labels = {"type": USES, INSTANCE_LABEL: instance, IMAGES_LABEL: ",".join(sorted(references))}
    with contextlib.suppress(docker.errors.NotFound):
        if convert(client.inspect_volume(_name(holder)), Volume).labels == labels:
            return
        client.remove_volume(_name(holder))
    client.create_volume(_name(holder), driver="local", labels=labels)


def forget(client: docker.APIClient, holder: str) -> None:
    """Removes the note of a server, if there is one."""
    with contextlib.suppress(docker.errors.NotFound):
        client.remove_volume(_name(holder))


def all_of(client: docker.APIClient) -> dict[str, set[str]]:
    """The images that each holder uses."""
    answer = convert(client.volumes(filters={"label": f"type={USES}"}), VolumeList)
    return {
        one.name.removeprefix(f"{USES}-"): set((one.labels or {}).get(IMAGES_LABEL, "").split(","))
        for one in answer.volumes or ()
    }


def _name(holder: str) -> str:
    return f"{USES}-{holder}"
