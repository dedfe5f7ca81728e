"""What an operator lends to an attack: keys of several roles, and the secrets that sign tokens."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coderunner.attack.case import UNTRIED, Script
from coderunner.client import rest
from coderunner.client.peer import Unexpected
from coderunner.client.rest import Answer

if TYPE_CHECKING:
    from coderunner.attack.stage import Stage

Events = Callable[[float], Awaitable[list[dict[str, Any]]]]
# A description with few routes would let the cases pass that go over all of them.
LEAST_ROUTES = 60  # that a server describes: there are more
MISSING = UNTRIED + "needs keys of several roles (--make-keys, on the server's machine)"


@dataclass(frozen=True, slots=True)
class Means:
    """Keys for the time of an attack, and settings of the server.

    `room`: the room of `user`, `mate` (both users) and `teacher`. `stranger`: a key of a teacher of another
    room. `operator`: of an operator. `scraper`: of one whose scope is `metrics` alone. `spare`: of a user
    whose quota a case may use up. `issuer`, `audience`, `secret`: JWT_ISSUER and others, empty if they are
    not set. `public`: the content of JWT_PUBLIC_KEY. `events`: the events of the audit log since a time in
    seconds since 1970.
    """

    room: str
    user: str
    mate: str
    stranger: str
    teacher: str
    operator: str
    scraper: str
    spare: str
    events: Events
    issuer: str = ""
    audience: str = ""
    secret: str = ""
    public: bytes = b""


Lent = Callable[["Stage", Means], Awaitable[str]]


def lent(script: Lent) -> Script:
    """Makes the script of a case that needs an operator's means; without them the case is untried."""

    @functools.wraps(script)
    async def tried(stage: Stage) -> str:
        """The case's script with the means, or the outcome that there are none."""
        return MISSING if stage.means is None else await script(stage, stage.means)

    return tried


def shows(key: str) -> dict[str, str]:
    """The header of a request that carries a key or token."""
    return {"Authorization": f"Bearer {key}"}


async def asks(
    stage: Stage, key: str, path: str, method: str = "GET", document: Any = None, **headers: str
) -> Answer:
    """Sends a request with a credential, or without one if `key` is empty. `document`: the body, as JSON.
    Raises as `client.rest.ask`."""
    body = None if document is None else json.dumps(document).encode()
    sent = {"Content-Type": "application/json", **headers} if body is not None else headers
    return await rest.ask(
        stage.url + path, method=method, body=body, headers={**(shows(key) if key else {}), **sent}
    )


async def described(stage: Stage) -> list[tuple[str, str]]:
    """(method, path) of all routes, from the server's own description, with `nobody` in place of each id.
    Raises Unexpected if it describes fewer than LEAST_ROUTES."""
    paths = (await asks(stage, "", "api/openapi.json")).document["paths"]
    found = [
        (method.upper(), re.sub(r"\{\w+\}", "nobody", path).lstrip("/"))
        for path, methods in paths.items()
        for method in methods
    ]
    if len(found) < LEAST_ROUTES:
        raise Unexpected(f"only {len(found)} routes are described")
    return found
