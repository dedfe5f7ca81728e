"""Completed sign-ins to the page: sealed cookies, and the ids of those that were ended."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from coderunner.identity.principal import Principal
from coderunner.identity.sealing import Sealer
from coderunner.identity.target import MAX_OUT

_KIND = "signed-in"


class SignIns:
    """Makes, reads and ends sign-ins. `lifetime`: of each, in seconds. `on_out`: called with the id and the
    expiry of a sign-in that is ended, to store them over a restart."""

    def __init__(self, sealer: Sealer, lifetime: float) -> None:
        self.on_out: Callable[[str, float], object] = lambda _id, _expires: None
        self._sealer = sealer
        self._lifetime = lifetime
        self._out: OrderedDict[str, float] = OrderedDict()  # ids of ended sign-ins, with their expiry

    def made(self, who: Principal) -> str:
        """The text of the cookie of a new sign-in. Raises ValueError if it has too many rooms."""
        return self._sealer.seal(
            _KIND,
            {
                # By this id a sign-in can be ended, including copies of its cookie.
                "id": secrets.token_urlsafe(16),
                "subject": who.subject,
                "name": who.name,
                "roles": sorted(who.roles),
                "rooms": sorted(who.rooms),
                "how": who.how,
                "expires": time.time() + self._lifetime,
            },
        )

    def principal(self, cookie: str) -> Principal | None:
        """The principal of this cookie; None if it is forged, has expired or was signed out."""
        value = self._sealer.unseal(_KIND, cookie, time.time())
        if value is None or value["id"] in self._out:
            return None
        roles, rooms = frozenset(value["roles"]), frozenset(value["rooms"])
        return Principal(
            value["subject"], value["name"], roles, rooms, how=value.get("how", "oidc"),
            until=float(value["expires"]), sign_in=value["id"],
        )  # fmt: skip

    def ended(self, who: Principal) -> bool:
        """Whether the sign-in of `who` was ended."""
        return who.sign_in in self._out

    def sign_out(self, cookie: str) -> None:
        """Ends the sign-in of this cookie, also for copies of it."""
        value = self._sealer.unseal(_KIND, cookie, time.time())
        if value is None:
            return
        if value["id"] not in self._out:
            self.on_out(value["id"], value["expires"])
        self._remember(value["id"], value["expires"])

    def restore(self, ended: Iterable[tuple[str, float]]) -> None:
        """Adds the sign-ins that a previous server has ended: (id, expiry), the earliest first."""
        for ident, expires in ended:
            self._remember(ident, expires)

    def _remember(self, ident: str, expires: float) -> None:
        self._out[ident] = expires
        # In the order of signing out, which is roughly that of expiry, as all have the same lifetime.
        while self._out and (len(self._out) > MAX_OUT or next(iter(self._out.values())) < time.time()):
            self._out.popitem(last=False)
