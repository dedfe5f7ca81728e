"""Attacks by tokens (JWT) that are signed with the right key but have wrong claims, and by confused keys."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from coderunner.attack.case import UNTRIED, Group
from coderunner.attack.clients.credentials import EVIL, token
from coderunner.attack.means import Means, asks, lent
from coderunner.attack.stage import Stage

GROUP = Group("tokens")

NO_SECRET = UNTRIED + "JWT_SECRET is not set"
NO_PUBLIC = UNTRIED + "JWT_PUBLIC_KEY is not set"
HS256 = {"alg": "HS256"}


def _good(means: Means, **more: Any) -> dict[str, Any]:
    """Claims of an operator that the server accepts. `more`: other ones; None removes a claim."""
    now = int(time.time())
    claims = {
        "iss": means.issuer, "aud": means.audience, "sub": "attacker", "iat": now, "exp": now + 600,
        "roles": ["operator"], **more,
    }  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}


async def _taken(stage: Stage, tokens: dict[str, str]) -> list[str]:
    """Which of the tokens, by their names, the server does not refuse; each with the answer."""
    found = []
    for name, one in tokens.items():
        answer = await asks(stage, one, "api/identity")
        if answer.status != 401:
            found.append(f"{name}: {answer.status} {answer.body[:100].decode(errors='replace')}")
    return found


@GROUP.case(
    "tokens-not-valid", "the claims of tokens, by tokens that are signed rightly",
    "none is taken; a good one is",
)  # fmt: skip
@lent
async def _not_valid(stage: Stage, means: Means) -> str:
    if not means.secret:
        return NO_SECRET
    now, secret = int(time.time()), means.secret.encode()
    wrong: dict[str, dict[str, Any]] = {
        # The leeway for another clock is at most five minutes.
        "expired": {"exp": now - 301}, "expired long ago": {"exp": 0}, "expires before": {"exp": -1},
        "expiry is a text": {"exp": "never"}, "expiry is none": {"exp": None},
        "expiry is a list": {"exp": [now + 600]}, "not yet valid": {"nbf": now + 3600},
        "valid from a text": {"nbf": "now"}, "issued in the future": {"iat": now + 3600},
        "another issuer": {"iss": EVIL}, "no issuer": {"iss": None},
        "issuer in a list": {"iss": [means.issuer]},
        "longer issuer": {"iss": means.issuer + "/"}, "another audience": {"aud": "another"},
        "no audience": {"aud": None}, "others as audience": {"aud": ["another", "third"]},
        "audience is an object": {"aud": {means.audience: True}},
        "part of the audience": {"aud": means.audience[:-1]},
        "nobody": {"sub": None}, "empty subject": {"sub": ""}, "subject is a list": {"sub": ["attacker"]},
        "subject is a number": {"sub": 1}, "subject of two lines": {"sub": "a\nb"},
        "subject with a direction": {"sub": "a\u202eb"}, "long subject": {"sub": "a" * 5000},
    }  # fmt: skip
    tokens = {name: token(HS256, _good(means, **claims), secret) for name, claims in wrong.items()}
    good = _good(means)
    tokens |= {
        "an extension that must be understood": token({**HS256, "crit": ["exp"]}, good, secret),
        "another algorithm": token({"alg": "HS512"}, good, secret),
        "algorithm in lower case": token({"alg": "hs256"}, good, secret),
        "algorithm in a list": token({"alg": ["HS256"]}, good, secret),
        "no algorithm": token({}, good, secret),
        "none, with the signature": token({"alg": "none"}, good, secret),
        "signature cut": token(HS256, good, secret)[:-4],
        "claims changed": _changed(token(HS256, good, secret)),
    }
    found = await _taken(stage, tokens)
    told = await asks(stage, token(HS256, good, secret), "api/identity")
    return f"{', '.join(found) or 'none is taken'}; a good one {'is' if told.status == 200 else told.code}"


def _changed(text: str) -> str:
    """A token whose claims were changed after it was signed."""
    head, claims, mac = text.split(".")
    plain = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps({**plain, "sub": "admin"}).encode()).rstrip(b"=")
    return f"{head}.{changed.decode()}.{mac}"


@GROUP.case("tokens-keys-confused", "the server's public key, as the secret of HS256", "none is taken")
@lent
async def _confused(stage: Stage, means: Means) -> str:
    if not means.public:
        return NO_PUBLIC
    lines = means.public.strip().splitlines()
    der = base64.b64decode(b"".join(lines[1:-1]))
    secrets = {
        "PEM": means.public, "PEM without its end": means.public.strip(), "DER": der,
        "base64": b"".join(lines[1:-1]), "PEM of Windows": b"\r\n".join(lines) + b"\r\n",
    }  # fmt: skip
    tokens = {}
    for name, secret in secrets.items():
        for algorithm in ("HS256", "RS256", "ES256"):
            # Told as what a public key verifies, and signed with HMAC nevertheless.
            tokens[f"{name} as {algorithm}"] = token({"alg": algorithm}, _good(means), secret)
    if means.secret:
        # The other way round: the shared secret for the algorithms of public keys.
        for algorithm in ("RS256", "ES256", "PS256", "EdDSA"):
            tokens[f"secret as {algorithm}"] = token({"alg": algorithm}, _good(means), means.secret.encode())
    return ", ".join(await _taken(stage, tokens)) or "none is taken"


@GROUP.case(
    "tokens-of-others", "other principals, by the subject of a token", "none is another; a name is no role"
)
@lent
async def _subjects(stage: Stage, means: Means) -> str:
    if not means.secret:
        return NO_SECRET
    ident = means.operator.split("_")[1]
    for subject in ("admin", "operator", f"key:{ident}", "oidc:admin", f"crk_{ident}", "__proto__"):
        claims = _good(means, sub=subject, roles=[], name="admin", principal="admin", email="admin@localhost")
        one = token(HS256, claims, means.secret.encode())
        told = (await asks(stage, one, "api/identity")).document
        # With the way of its sign-in before it, no subject is that of another way.
        if told.get("principal") not in (f"jwt:{subject}", f"oidc:{subject}") or told["roles"] != ["user"]:
            return f"{subject}: {told}"
        if (code := (await asks(stage, one, "api/admin/overview")).code) != "403 not_allowed":
            return f"{subject}: {code}"
    return "none is another; a name is no role"
