"""Translates the engine's failures (status codes, broken connections, invalid answers) into `errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiodocker.exceptions import DockerError

from coderunner.engine.attach import Address
from coderunner.errors import ContainerGone, EngineError, EngineUnavailable, ImageMissing, NameConflict

NO_ENGINE = 900  # aiodocker's status for 'cannot connect'


@contextmanager
def translated(
    what: str, address: Address | None = None, refused: type[EngineError] = EngineUnavailable
) -> Iterator[None]:
    """Replaces the libraries' exceptions by those of `coderunner.errors`.

    `what`: name of the call, for messages. `address`: the engine's. `refused`: the class for 4xx and 5xx
    responses that have no more specific class. A TimeoutError is not replaced: the caller knows its deadline.
    """
    try:
        yield
    except DockerError as error:
        raise _our_error(what, error, address, refused) from error
    except (aiohttp.ClientError, OSError) as error:
        # In `translated` and not in each call: every deadline of this module is an asyncio time-out of the
        # caller.
        if isinstance(error, TimeoutError):
            raise
        where = f" at {address}" if address else ""
        reason = str(error) or type(error).__name__
        raise EngineUnavailable(f"{what}: the connection to the engine{where} broke: {reason}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable(f"{what}: the response is not an engine's: {error!r}") from error


def _our_error(
    what: str, error: DockerError, address: Address | None, refused: type[EngineError]
) -> EngineError:
    words = error.message.strip()
    lower = words.lower()
    # By status and words together: a 404 may be about a container, an image, a network or a volume.
    if error.status == NO_ENGINE:
        return EngineUnavailable(
            f"{what}: no engine answers at {address} ({words});"
            " check that Docker Engine is running and this user may open its socket"
        )
    if error.status == 404 and "no such image" in lower:
        return ImageMissing(f"{what}: {words}. Build the images: `make images`.")
    if error.status == 404 and "no such container" in lower:
        return ContainerGone(f"{what}: {words}")
    if error.status == 409 and "already in use" in lower:
        return NameConflict(f"{what}: {words}")
    if error.status == 409 and "is not running" in lower:
        return ContainerGone(f"{what}: {words}")
    return refused(f"{what}: the engine answered {error.status}: {words}")
