"""Which server uses which images: noted on the engine, which servers share, so that none prunes another's.

A record is an empty volume whose labels say it. A container would do as well for its own image, but a server
that starts has none yet, and a language that nobody opens never has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any

import docker
import docker.errors

from coderunner.engine.containers import INSTANCE_LABEL

USES = "coderunner-uses"
IMAGES_LABEL = "coderunner.images"


def note(client: docker.APIClient, holder: str, instance: str, references: Collection[str]) -> None:
    """`holder` (a name that no other has) uses these images, and no others any more."""
    labels = {"type": USES, INSTANCE_LABEL: instance, IMAGES_LABEL: ",".join(sorted(references))}
    with contextlib.suppress(docker.errors.NotFound):
        if client.inspect_volume(_name(holder))["Labels"] == labels:
            return
        client.remove_volume(_name(holder))
    client.create_volume(_name(holder), driver="local", labels=labels)


def forget(client: docker.APIClient, holder: str) -> None:
    """Removes the note of a server, if there is one."""
    with contextlib.suppress(docker.errors.NotFound):
        client.remove_volume(_name(holder))


def all_of(client: docker.APIClient) -> dict[str, set[str]]:
    """The images that each holder uses."""
    answer: dict[str, Any] = client.volumes(filters={"label": f"type={USES}"})
    return {
        one["Name"].removeprefix(f"{USES}-"): set((one["Labels"] or {}).get(IMAGES_LABEL, "").split(","))
        for one in answer["Volumes"] or ()
    }


def _name(holder: str) -> str:
    return f"{USES}-{holder}"
