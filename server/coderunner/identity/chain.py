"""The chain of verifiers that the settings choose: from what a request shows to its principal."""

from __future__ import annotations

import hmac
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coderunner.config import Settings
from coderunner.errors import IdentityUnavailable, Unauthenticated
from coderunner.identity.claims import ClaimRules
from coderunner.identity.keys import PREFIX, KeyRing
from coderunner.identity.principal import ADMIN, ANONYMOUS, NOBODY, Principal

if TYPE_CHECKING:
    from coderunner.identity.fetch import Fetcher
    from coderunner.identity.login import Login
    from coderunner.identity.lti import Lti
    from coderunner.identity.sealing import Sealer
    from coderunner.identity.sign_ins import SignIns
    from coderunner.identity.tokens import Verifier

log = logging.getLogger(__name__)

UNKNOWN = "the credential is not known here; leave it out, or ask for a new one"


@dataclass(frozen=True, slots=True)
class Shown:
    """The credentials of a request.

    `bearer`: from the Authorization header or the WebSocket's subprotocol, b"" if malformed. `user`, `roles`,
    `rooms`: from headers of a trusted proxy. `cookie`: of a sign-in. `bearer`, `user` and `cookie` are None
    if absent.
    """

    bearer: bytes | None = None
    user: str | None = None
    roles: str = ""
    rooms: str = ""
    cookie: str | None = None


class Verifiers:
    """Verifies credentials.

    `keys`: the API keys, which `stored.watch` keeps up to date. `sign_ins`: sign-ins to the page; `login`:
    with a provider; `lti`: from a learning platform; each None if it is not configured. `rules`: how claims
    become a principal.
    """

    def __init__(
        self,
        *,
        anonymous: bool = True,
        admin_key: str | None = None,
        rules: ClaimRules | None = None,
        tokens: Verifier | None = None,
        tokens_how: str = "jwt",
        sign_ins: SignIns | None = None,
        login: Login | None = None,
        lti: Lti | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.nobody = ANONYMOUS if anonymous else NOBODY
        self.rules = rules or ClaimRules()
        self.keys = KeyRing()
        self.sign_ins = sign_ins
        self.login = login
        self.lti = lti
        self._admin_key = admin_key.encode() if admin_key else None
        self._tokens = tokens
        self._tokens_how = tokens_how
        self._fetcher = fetcher

    async def principal(self, shown: Shown) -> Principal:
        """The principal of a request; `nobody` if it has no credential.

        Raises Unauthenticated for an unknown credential: treating it as none would hide the mistake from its
        owner. Raises IdentityUnavailable.
        """
        # What the client itself sends has precedence over what its proxy or browser adds.
        if shown.bearer is not None:
            return self.rules.raised(await self._bearer(shown.bearer))
        try:
            if shown.user is not None:
                return self.rules.raised(self.rules.proxied(shown.user, shown.roles, shown.rooms))
        except ValueError as error:
            raise Unauthenticated(f"the proxy's name for the user cannot be used: {error}") from None
        if shown.cookie is not None and self.sign_ins is not None:
            found = self.sign_ins.principal(shown.cookie)
            if found is None:
                raise Unauthenticated("the sign-in has ended; sign in again")
            return self.rules.raised(found)
        return self.nobody

    def ended(self, who: Principal, now: float, *, oversees: bool) -> bool:
        """Whether a connection of `who` must be closed, as its key has ended.

        `oversees`: the connection watches a session as a teacher or operator. Then it must be closed also if
        the credential has expired or the sign-in was ended, as nothing else permits it.
        """
        if oversees and who.until is not None and who.until <= now:
            return True
        if oversees and self.sign_ins is not None and self.sign_ins.ended(who):
            return True
        return self.keys.ended(who, now)

    async def _bearer(self, shown: bytes) -> Principal:
        # Constant time. As bytes: compare_digest takes no text outside of ASCII.
        if self._admin_key is not None and hmac.compare_digest(shown, self._admin_key):
            return ADMIN
        try:
            text = shown.decode("ascii")
        except UnicodeDecodeError:
            raise Unauthenticated(UNKNOWN) from None
        if text.startswith(PREFIX):
            found = self.keys.find(text, time.time())
            if found is None and self.keys.awaited:
                # After a start: a client that reconnects must not be told that its key is invalid.
                raise IdentityUnavailable("the keys have not been read yet", retry_after_ms=500)
            if found is None:
                raise Unauthenticated(UNKNOWN)
            return found
        # A signed token has three parts (RFC 7515, section 7.1).
        if self._tokens is not None and text.count(".") == 2:
            claims = await self._tokens.verify(text)
            try:
                return self.rules.principal(self._tokens_how, claims)
            except ValueError as error:
                raise Unauthenticated(f"the token cannot be used: {error}") from None
        raise Unauthenticated(UNKNOWN)

    async def close(self) -> None:
        """Closes connections to issuers."""
        if self._fetcher is not None:
            await self._fetcher.close()


def made(settings: Settings, key: bytes) -> Verifiers:
    """The verifiers that the settings choose. `key`: the instance's secret. Raises ConfigError.

    The libraries for tokens are imported only if they are needed, as importing them delays the start.
    """
    rules = ClaimRules(
        settings.roles_claim,
        settings.rooms_claim,
        frozenset(settings.operators),
        frozenset(settings.teachers),
    )
    fetcher = tokens = sign_ins = login = lti = None
    # One client for all, so that connections are shared: usually it is the same issuer.
    if any((settings.jwt_jwks_url, settings.oidc_issuer, settings.lti_issuer)):
        from coderunner.identity.fetch import Fetcher

        fetcher = Fetcher()
    if settings.jwt_issuer is not None:
        tokens = _tokens(settings, fetcher)
    if fetcher is not None and (settings.oidc_issuer is not None or settings.lti_issuer is not None):
        from coderunner.identity.sealing import Sealer
        from coderunner.identity.sign_ins import SignIns

        sealer = Sealer(key)
        sign_ins = SignIns(sealer, settings.sign_in_lifetime / 1000)
        login = _login(settings, rules, sealer, sign_ins, fetcher) if settings.oidc_issuer else None
        lti = _lti(settings, sealer, sign_ins, fetcher) if settings.lti_issuer else None
    return Verifiers(
        anonymous=settings.anonymous == "yes",
        admin_key=settings.admin_key,
        rules=rules,
        tokens=tokens,
        # With the same issuer, a person has the same subject by sign-in and by token.
        tokens_how="oidc" if settings.jwt_issuer == settings.oidc_issuer else "jwt",
        sign_ins=sign_ins,
        login=login,
        lti=lti,
        fetcher=fetcher,
    )


def _tokens(settings: Settings, fetcher: Fetcher | None) -> Verifier:
    from coderunner.identity.tokens import KeySet, Verifier, public_key_in

    return Verifier(
        issuer=settings.jwt_issuer or "",
        audience=settings.jwt_audience or "",
        leeway=settings.jwt_leeway / 1000,
        secret=settings.jwt_secret,
        public=public_key_in(settings.jwt_public_key) if settings.jwt_public_key else None,
        keys=KeySet(settings.jwt_jwks_url, fetcher) if settings.jwt_jwks_url and fetcher else None,
    )


def _lti(settings: Settings, sealer: Sealer, sign_ins: SignIns, fetcher: Fetcher) -> Lti:
    from coderunner.identity import lti
    from coderunner.identity.tokens import KeySet, Verifier

    platform = lti.Platform(
        issuer=settings.lti_issuer or "",
        client_id=settings.lti_client_id or "",
        authorize=settings.lti_auth_url or "",
        deployments=frozenset(settings.lti_deployments),
    )
    verifier = Verifier(
        platform.issuer,
        platform.client_id,
        settings.jwt_leeway / 1000,
        keys=KeySet(settings.lti_jwks_url or "", fetcher),
        longest=lti.MAX_TOKEN,
    )
    return lti.Lti(platform, verifier, sealer, sign_ins)


def _login(
    settings: Settings, rules: ClaimRules, sealer: Sealer, sign_ins: SignIns, fetcher: Fetcher
) -> Login:
    from coderunner.identity.login import Client, Login

    client = Client(
        issuer=settings.oidc_issuer or "",
        id=settings.oidc_client_id or "",
        secret=settings.oidc_client_secret,
        scopes=settings.oidc_scopes,
        leeway=settings.jwt_leeway / 1000,
    )
    return Login(client, rules, sealer, sign_ins, fetcher)
