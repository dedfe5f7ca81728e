"""Makes a principal from the claims of a token or the headers of a proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from coderunner.identity.principal import (
    OPERATOR,
    TEACHER,
    Principal,
    name_of,
    roles_of,
    rooms_of,
    subject_of,
)


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """The claims that contain roles and rooms, and the subjects with a role by the settings."""

    roles_claim: str = "roles"
    rooms_claim: str = "rooms"
    operators: frozenset[str] = frozenset()
    teachers: frozenset[str] = frozenset()

    def principal(self, how: str, claims: Mapping[str, Any]) -> Principal:
        """The principal that a verified token names, without the roles of the settings. Raises ValueError."""
        subject = subject_of(how, claims.get("sub"))
        # OpenID Connect Core, section 5.1. Both may change or be shared by two people: never for decisions.
        shown = claims.get("name") or claims.get("preferred_username")
        return Principal(
            subject,
            name_of(shown, str(claims["sub"])),
            roles_of(_at(claims, self.roles_claim)),
            rooms_of(_at(claims, self.rooms_claim)),
            how=how,
            until=float(claims["exp"]) if "exp" in claims else None,
        )

    def proxied(self, user: str, roles: str, rooms: str) -> Principal:
        """The principal that a trusted proxy names. Raises ValueError."""
        subject = subject_of("proxy", user)
        return Principal(subject, name_of(user, user), roles_of(roles), rooms_of(rooms), how="proxy")

    def raised(self, principal: Principal) -> Principal:
        """The principal with the roles that the settings add."""
        more = {
            role
            for role, holders in ((OPERATOR, self.operators), (TEACHER, self.teachers))
            if principal.subject in holders
        }
        return replace(principal, roles=principal.roles | more) if more - principal.roles else principal


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim with this name, or the nested one if the name has dots; None if there is none."""
    if path in claims:  # some providers use URLs as names
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
