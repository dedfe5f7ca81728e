"""Signing in to the page with OpenID Connect: authorization code flow with PKCE.

The state of a sign-in under way is stored in a sealed cookie; completed ones are in `identity.sign_ins`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from coderunner.errors import IdentityUnavailable, NotAllowed, Unauthenticated
from coderunner.identity.claims import ClaimRules
from coderunner.identity.fetch import Fetcher
from coderunner.identity.sealing import Sealer
from coderunner.identity.sign_ins import SignIns
from coderunner.identity.target import local_target
from coderunner.identity.tokens import AGAIN_SECONDS, STALE_SECONDS, KeySet, Verifier
from coderunner.logs import fields
from coderunner.schema.forms import web_address

log = logging.getLogger(__name__)

BEGUN_SECONDS = 600.0  # that somebody may take at the provider's
FRESH_SECONDS = 3600.0  # after which the provider's description is read again
# VSCHAR of RFC 6749, appendix A.11, without the space; its length is not bounded there.
_CODE = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class Provider:
    """The parts of a provider's metadata that are used."""

    authorize: str
    token: str
    keys: KeySet
    post_secret: bool


@dataclass(frozen=True, slots=True)
class Client:
    """This server's registration at the provider. `secret`: None for a public client. `leeway`: seconds."""

    issuer: str
    id: str
    secret: str | None
    scopes: tuple[str, ...]
    leeway: float


class Login:
    """Sign-ins with one provider, whose subjects begin with `oidc:`. `sign_ins`: makes their cookies."""

    def __init__(
        self, client: Client, rules: ClaimRules, sealer: Sealer, sign_ins: SignIns, fetcher: Fetcher
    ) -> None:
        self._client = client
        self._rules = rules
        self._sealer = sealer
        self._sign_ins = sign_ins
        self._fetcher = fetcher
        self._provider: Provider | None = None
        self._read_at = self._failed_at = float("-inf")
        self._why = ""  # the last reading failed
        self._asking = asyncio.Lock()

    async def provider(self) -> Provider:
        """The provider's addresses; those of before for STALE_SECONDS while it cannot be asked. Raises
        IdentityUnavailable."""
        # A lock: many people sign in at a lesson's start, and one request is enough for all.
        async with self._asking:
            now = time.monotonic()
            if self._provider is not None and now < self._read_at + FRESH_SECONDS:
                return self._provider
            # Who has waited for the lock would otherwise ask anew, one after the other, each until the
            # fetcher's deadline.
            if now >= self._failed_at + AGAIN_SECONDS:
                try:
                    self._provider = await self._description()
                    self._read_at = time.monotonic()
                    return self._provider
                except IdentityUnavailable as error:
                    self._failed_at, self._why = time.monotonic(), error.message
                    about = fields(issuer=self._client.issuer, why=error.message)
                    log.warning("the provider's description cannot be read", extra=about)
            if self._provider is not None and now < self._read_at + STALE_SECONDS:
                return self._provider
            raise IdentityUnavailable(self._why, retry_after_ms=round(AGAIN_SECONDS * 1000))

    async def _description(self) -> Provider:
        issuer = self._client.issuer
        told = await self._fetcher.get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            # OpenID Connect Discovery, section 4.3: it must be identical, or another provider could be put in
            # its place.
            if told.get("issuer") != issuer:
                raise ValueError("it names another issuer")
            # The default of OpenID Connect Discovery, section 3.
            methods = told.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
            return Provider(
                authorize=web_address(str(told.get("authorization_endpoint")), query=True),
                token=web_address(str(told.get("token_endpoint")), query=True),
                keys=KeySet(web_address(str(told.get("jwks_uri")), query=True), self._fetcher),
                post_secret="client_secret_basic" not in methods,
            )
        except (ValueError, TypeError) as error:
            raise IdentityUnavailable(f"the provider's description cannot be used: {error}") from None

    async def begin(self, redirect: str, target: str, *, again: bool = False) -> tuple[str, str]:
        """Begins a sign-in: (the address at the provider, the cookie's text for the way back).

        `redirect`: this server's address for the way back; `target`: where the page goes on, a local path.
        `again`: the provider is to ask who it is, also where it knows this browser. Raises
        IdentityUnavailable.
        """
        provider = await self.provider()
        # `state` binds the answer to this browser, `nonce` the token, `verifier` (PKCE, RFC 7636) the code.
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        query = {
            "response_type": "code",
            "client_id": self._client.id,
            "redirect_uri": redirect,
            "scope": " ".join(self._client.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
            # OpenID Connect Core, section 3.1.2.1.
            **({"prompt": "login"} if again else {}),
        }
        cookie = self._sealer.seal(
            "begun",
            {
                # The redirect is kept: the exchange must name the same one (RFC 6749, section 4.1.3).
                "state": state, "nonce": nonce, "verifier": verifier, "redirect": redirect,
                "target": local_target(target), "expires": time.time() + BEGUN_SECONDS,
            },
        )  # fmt: skip
        glue = "&" if "?" in provider.authorize else "?"
        return provider.authorize + glue + urlencode(query), cookie

    def target(self, cookie: str) -> str:
        """Where the page goes on after the sign-in of this cookie, however it ends; "/" for none."""
        begun = self._sealer.unseal("begun", cookie, time.time())
        return local_target(str(begun["target"])) if begun is not None else "/"

    async def finish(self, cookie: str, query: dict[str, str]) -> tuple[str, str]:
        """Completes a sign-in. Returns (the text of the sign-in's cookie, the path to go to).

        `cookie`: from `begin`; `query`: of the redirect. Raises Unauthenticated if they do not belong
        together or the token is invalid, NotAllowed if the provider refused, IdentityUnavailable.
        """
        begun = self._sealer.unseal("begun", cookie, time.time())
        if begun is None:
            raise Unauthenticated(
                "the sign-in took too long, or was begun in another browser; begin it again"
            )
        if not hmac.compare_digest(query.get("state", "").encode(), begun["state"].encode()):
            raise Unauthenticated("this is the answer to another sign-in; begin it again")
        # RFC 9207, against mixing up two providers; many do not send it.
        if query.get("iss", self._client.issuer) != self._client.issuer:
            raise Unauthenticated("this is the answer of another provider; begin the sign-in again")
        if "error" in query:
            raise NotAllowed("the provider refused the sign-in")
        claims = await self._claims(query.get("code", ""), begun)
        # OpenID Connect Core, section 3.1.3.7: a token that was issued to another sign-in is not replayed.
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), begun["nonce"].encode()):
            raise Unauthenticated("the provider's token is for another sign-in; begin it again")
        try:
            sealed = self._sign_ins.made(self._rules.principal("oidc", claims))
        except ValueError as error:
            raise NotAllowed(f"the provider's token cannot be used: {error}") from None
        return sealed, local_target(str(begun["target"]))

    async def _claims(self, code: str, begun: dict[str, Any]) -> dict[str, Any]:
        """The claims of the ID token for which a code is exchanged."""
        if not _CODE.fullmatch(code):
            raise Unauthenticated("the provider sent no code; begin the sign-in again")
        provider, client = await self.provider(), self._client
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun["redirect"],
            "code_verifier": begun["verifier"],
        }
        auth = None
        if client.secret is None or provider.post_secret:
            form["client_id"] = client.id
            form |= {"client_secret": client.secret} if client.secret is not None else {}
        else:
            # RFC 6749, 2.3.1: both are encoded as in a form first.
            auth = aiohttp.BasicAuth(quote(client.id, safe=""), quote(client.secret, safe=""))
        status, told = await self._fetcher.post(provider.token, form, auth)
        token = told.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise Unauthenticated("the provider does not take the code; begin the sign-in again")
        verifier = Verifier(client.issuer, client.id, client.leeway, keys=provider.keys)
        claims = await verifier.verify(token)
        # OpenID Connect Core, section 3.1.3.7: the party to which the token was issued.
        if claims.get("azp", client.id) != client.id:
            raise Unauthenticated("the provider's token is for another client")
        return claims
