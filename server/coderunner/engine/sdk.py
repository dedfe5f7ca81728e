"""Clients of the `docker` SDK, whose failures become one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from coderunner.engine.docker import usual_socket
from coderunner.errors import EngineUnavailable

FIRST_SECONDS = 10  # for the first answer, whatever the calls after it may take
_SILENT = (TimeoutError, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)


@contextmanager
def connected(host: str | None, silence_seconds: float) -> Iterator[docker.APIClient]:
    """A client whose API version is agreed on. `host`: the engine's address, None for the default.
    `silence_seconds`: how long the engine may send nothing, after its first answer.

    Blocks the thread. Raises EngineUnavailable, also for calls within the block; their docker.errors.APIError
    is passed on.
    """
    address = host or usual_socket()
    client, seconds = None, float(FIRST_SECONDS)
    try:
        client = docker.APIClient(base_url=address, version="auto", timeout=FIRST_SECONDS)
        client.timeout = seconds = silence_seconds
        yield client
    except docker.errors.APIError:
        raise
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise EngineUnavailable(_words(address, seconds, error)) from error
    finally:
        if client is not None:
            client.close()


def _words(address: str, seconds: float, error: BaseException) -> str:
    """The sentence about a failure. The libraries' own one has the reason at its end, in three layers."""
    reasons = list(_causes(error))
    if any(isinstance(one, _SILENT) for one in reasons):
        return (
            f"the container engine at {address} has not answered within {seconds:g} s;"
            " see `journalctl -u docker`, and restart it if it hangs"
        )
    texts = [one.strerror for one in reasons if isinstance(one, OSError) and one.strerror]
    return (
        f"the container engine at {address} cannot be used ({texts[-1] if texts else error}); check that"
        " Docker Engine is running, that this user may open its socket, and DOCKER_HOST"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those behind it, the innermost last."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            waiting += [*one.args, one.__cause__, one.__context__]
