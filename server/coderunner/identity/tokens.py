"""Verifies tokens (JWT) of other issuers: keys, algorithms and required claims."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from coderunner.errors import CodeRunnerError, ConfigError, IdentityUnavailable, Unauthenticated
from coderunner.identity.fetch import Fetcher
from coderunner.logs import fields
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey
# aiohttp refuses longer header fields anyway (max_field_size, 8190).
MAX_TOKEN = 8192  # characters
MAX_KEYS = 100  # of a key set
FRESH_SECONDS = 600.0  # after which a key set is read again
STALE_SECONDS = 24 * 3600.0  # for which an old one is used while its issuer is not reachable
AGAIN_SECONDS = 5.0  # between two attempts to read it, also for unknown key ids, which clients may invent
# RFC 7518, section 3.3.
LEAST_RSA_BITS = 2048
# PyJWT checks `exp` only if it is present: a token without it would never expire.
REQUIRED = ("exp", "iss", "aud", "sub")


def algorithm_of(key: object) -> str | None:
    """The one algorithm that may be used with a public key: RS256, ES256; None for other keys."""
    # One algorithm per key: otherwise an attacker could use a public key as the secret of HS256.
    if isinstance(key, RSAPublicKey):
        return "RS256" if key.key_size >= LEAST_RSA_BITS else None
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    return None


def public_key_in(path: str) -> PublicKey:
    """The public key in a PEM file. Raises ConfigError."""
    try:
        key = load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no public key in PEM form"
        raise ConfigError([f"JWT_PUBLIC_KEY cannot be read from {path}: {why}"]) from None
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey) or algorithm_of(key) is None:
        raise ConfigError([f"JWT_PUBLIC_KEY in {path} must be RSA of 2048 bits or more, or EC on P-256"])
    return key


class KeySet:
    """The public keys of an issuer (JWKS), read on demand and cached. `url`: of the key set."""

    def __init__(self, url: str, fetcher: Fetcher) -> None:
        self._url = url
        self._fetcher = fetcher
        self._keys: dict[tuple[str, str], PublicKey] = {}  # by algorithm and key id
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._tasks = Tasks("keys of tokens", expected=(CodeRunnerError,))

    async def find(self, algorithm: str, kid: str | None) -> PublicKey:
        """The key for a token with this algorithm and key id; without an id the only key of the algorithm.

        Raises Unauthenticated if the set has none; IdentityUnavailable while it cannot be read.
        """
        now = time.monotonic()
        key = self._look(algorithm, kid)
        if key is not None and now < self._read_at + FRESH_SECONDS:
            return key
        await self._read(now)
        key = self._look(algorithm, kid)
        if key is not None and now < self._read_at + STALE_SECONDS:
            return key
        if self._read_at < now - FRESH_SECONDS:
            raise IdentityUnavailable("the keys of the issuer of tokens cannot be read", retry_after_ms=5000)
        raise Unauthenticated("the token is signed by a key that its issuer does not have")

    def _look(self, algorithm: str, kid: str | None) -> PublicKey | None:
        if kid is not None:
            return self._keys.get((algorithm, kid))
        # Issuers with a single key often omit the id. With two keys the choice would be a guess.
        fitting = [key for (name, _), key in self._keys.items() if name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _read(self, asked: float) -> None:
        if self._reading is None or self._reading.done():
            if self._tried_at > asked - AGAIN_SECONDS:
                return  # another caller has just tried
            self._tried_at = time.monotonic()
            self._reading = self._tasks.start(self._fetch(), "token-keys")
        # Shielded: it continues for others if this caller is cancelled. The fetcher has a deadline.
        await asyncio.shield(self._reading)

    async def _fetch(self) -> None:
        try:
            document = await self._fetcher.get(self._url)
        except IdentityUnavailable as error:
            log.warning("keys of tokens cannot be read", extra=fields(url=self._url, why=error.message))
            return
        self._keys = keys_in(document)
        self._read_at = time.monotonic()


def keys_in(document: Mapping[str, Any]) -> dict[tuple[str, str], PublicKey]:
    """The usable keys of a JWKS document, by algorithm and key id. Symmetric keys are not usable."""
    found: dict[tuple[str, str], PublicKey] = {}
    rows = document.get("keys")
    for number, row in enumerate(rows[:MAX_KEYS] if isinstance(rows, list) else ()):
        # `d` is a private key (RFC 7518, section 6.2.2), published by mistake: anybody can sign with it.
        if not isinstance(row, dict) or row.get("use", "sig") != "sig" or "d" in row:
            continue
        try:
            key = jwt.PyJWK.from_dict(row).key
        except jwt.PyJWTError:  # a kind of key that is not known here
            continue
        algorithm = algorithm_of(key)
        if algorithm is not None and row.get("alg", algorithm) == algorithm:
            found[algorithm, str(row.get("kid", f"#{number}"))] = key
    return found


@dataclass(slots=True)
class Verifier:
    """Verifies tokens of one issuer.

    `secret`: for HS256; `public`: for the algorithm of its kind; `keys`: for RS256 and ES256. The token's
    header only chooses among these: no key is ever used with an algorithm of another kind. `longest`: in
    characters.
    """

    issuer: str
    audience: str
    leeway: float
    secret: str | None = None
    public: PublicKey | None = None
    keys: KeySet | None = None
    longest: int = MAX_TOKEN

    async def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token. Raises Unauthenticated, IdentityUnavailable."""
        if len(token) > self.longest:
            raise Unauthenticated(f"the token is longer than {self.longest} characters")
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            # `crit`: extensions that must be understood (RFC 7515, section 4.1.11); none is here.
            if "crit" in header or not isinstance(algorithm, str):
                raise jwt.InvalidAlgorithmError
            key = await self._key(algorithm, kid)
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[algorithm], issuer=self.issuer, audience=self.audience,
                leeway=self.leeway, options={"require": list(REQUIRED)},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise Unauthenticated(_words(error)) from None
        # PyJWT lets these through for headers and claims of unexpected types.
        except (ValueError, TypeError, RecursionError):
            raise Unauthenticated("the token is malformed") from None
        return claims

    async def _key(self, algorithm: str, kid: str | None) -> Any:
        if algorithm == "HS256" and self.secret is not None:
            return self.secret
        if self.public is not None and algorithm == algorithm_of(self.public):
            return self.public
        if self.keys is not None and algorithm in ("RS256", "ES256"):
            return await self.keys.find(algorithm, kid)
        raise jwt.InvalidAlgorithmError


def _words(error: jwt.PyJWTError) -> str:
    """A message about the error, which repeats nothing of the token."""
    match error:
        case jwt.ExpiredSignatureError():
            return "the token has expired; ask its issuer for a new one"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet; compare the clocks of its issuer and this server"
        case jwt.InvalidAudienceError():
            return "the token is for another audience (`aud`)"
        case jwt.InvalidIssuerError():
            return "the token is of another issuer (`iss`)"
        case jwt.MissingRequiredClaimError():
            return f"the token lacks a claim; it needs {', '.join(REQUIRED)}"
        case jwt.InvalidAlgorithmError():
            return "the token is signed by an algorithm that this server does not take from its issuer"
        case _:
            return "the token is not known here"
