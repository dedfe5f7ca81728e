"""Finds out which packages of an image have security updates, by the apt in it.

The package lists are fetched once, in a container of the base image, and copied into a container of each
image, which has no network."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker
import docker.errors

LISTS = "/var/lib/apt/lists"
FETCH_SECONDS = 180  # to fetch the lists
LOOK_SECONDS = 60  # for apt to compare them with an image's packages
MAX_BYTES = 256 * 1024 * 1024  # all lists of a release have 60 MB, those of its security updates far less
_UPGRADABLE = re.compile(r"^([a-z0-9][a-z0-9+.-]*)/\S*-security\S* ", re.MULTILINE)


class NoLists(Exception):
    """The package lists cannot be fetched; the text has the reason."""


def security_lists(client: docker.APIClient, image: str, say: Callable[[str], None]) -> bytes:
    """Fetches the lists of security updates from the image's apt sources; returns them as a tar archive.

    `say`: called with a line of progress. Raises NoLists.
    """
    say("looking for security updates")
    # Error-Mode=any: without it apt reports success although a list is missing.
    with _container(client, image, ["apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any"]) as one:
        client.start(one)
        code = client.wait(one, timeout=FETCH_SECONDS)["StatusCode"]
        if code != 0:
            words = client.logs(one, tail=4).decode("utf-8", "replace").split("\n")
            # The last lines say which address failed, in words for the administrator.
            raise NoLists("; ".join(line for line in words if line)[:400] or f"apt-get ended with {code}")
        stream, _ = client.get_archive(one, LISTS)
        return _security_only(_bounded(stream))


def upgradable(client: docker.APIClient, image: str, lists: bytes) -> list[str]:
    """The names of the image's packages for which the lists have a newer version."""
    with _container(client, image, ["apt", "list", "--upgradable"], network=False) as one:
        client.put_archive(one, "/var/lib/apt", lists)
        client.start(one)
        client.wait(one, timeout=LOOK_SECONDS)
        return sorted(set(_UPGRADABLE.findall(client.logs(one, stderr=False).decode("utf-8", "replace"))))


@contextmanager
def _container(
    client: docker.APIClient, image: str, command: list[str], network: bool = True
) -> Iterator[str]:
    """Creates a container, with a process of root; yields its id, and removes it at the end."""
    made = client.create_container(
        image, command, user="0:0", entrypoint=[], network_disabled=not network,
        # LC_ALL=C, as the output is parsed.
        labels={"type": "coderunner-renewal"}, environment={"LC_ALL": "C"}, working_dir="/",
    )["Id"]  # fmt: skip
    try:
        yield str(made)
    finally:
        client.remove_container(made, force=True, v=True)


def _bounded(stream: Iterator[bytes]) -> bytes:
    parts, size = [], 0
    for part in stream:
        parts.append(part)
        size += len(part)
        # Checked while it arrives: a mirror that sends without an end must not fill the memory.
        if size > MAX_BYTES:
            raise NoLists(f"the lists have more than {MAX_BYTES} bytes")
    return b"".join(parts)


def _security_only(archive: bytes) -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=kept, mode="w") as target:
        for entry in source:
            # Lists of the main archive would offer updates that are no security updates, and rebuild every
            # image.
            if entry.isfile() and "security" in entry.name:
                target.addfile(entry, source.extractfile(entry))
    return kept.getvalue()
