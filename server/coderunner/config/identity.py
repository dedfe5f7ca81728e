"""Rules between the settings of identity: which need each other, and which secrets are too weak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_JWT_KEYS = ("JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL")


def problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (the setting's name, what is wrong with it). `values`: None for those that are not set."""
    yield from _jwt(values)
    header = values["PROXY_USER_HEADER"]
    if header is not None and not values["TRUSTED_PROXIES"]:
        yield (
            "PROXY_USER_HEADER",
            "is believed from TRUSTED_PROXIES only, and there are none; write their addresses",
        )
    for name in ("PROXY_ROLES_HEADER", "PROXY_ROOMS_HEADER"):
        if values[name] is not None and header is None:
            yield name, "has no effect without PROXY_USER_HEADER; write that one, too, or remove the line"
    if values["OIDC_ISSUER"] is not None and values["OIDC_CLIENT_ID"] is None:
        yield (
            "OIDC_CLIENT_ID",
            "is required with OIDC_ISSUER; write the id that this server has at the provider",
        )
    for name in ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"):
        if values[name] is not None and values["OIDC_ISSUER"] is None:
            yield name, "has no effect without OIDC_ISSUER; write that one, too, or remove the line"
    if values["OIDC_ISSUER"] is not None and "openid" not in (values["OIDC_SCOPES"] or ()):
        yield "OIDC_SCOPES", "must contain openid; write for example OIDC_SCOPES=openid,profile"

    yield from _lti(values)


_LTI = ("LTI_CLIENT_ID", "LTI_AUTH_URL", "LTI_JWKS_URL")


def _lti(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings of LTI 1.3: all of _LTI belong to LTI_ISSUER."""
    for name in _LTI:
        if values["LTI_ISSUER"] is not None and values[name] is None:
            yield name, "is required with LTI_ISSUER; the platform shows it where the tool is registered"
    for name in (*_LTI, "LTI_DEPLOYMENTS"):
        if values["LTI_ISSUER"] is None and values[name]:
            yield name, "has no effect without LTI_ISSUER; write that one, too, or remove the line"


def _jwt(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings of tokens (JWT): a key needs an issuer and an audience, and a secret must be hard to
    guess."""
    given = [name for name in _JWT_KEYS if values[name] is not None]
    for name in ("JWT_ISSUER", "JWT_AUDIENCE"):
        if given and values[name] is None:
            yield name, f"is required with {given[0]}: without it, any token of that key would be taken"
        if not given and values[name] is not None:
            yield (
                name,
                f"has no effect without a key; write one of {', '.join(_JWT_KEYS)}, or remove the line",
            )
    secret = values["JWT_SECRET"]
    # 32 characters: a key of HS256 must have at least 256 bits (RFC 7518, section 3.2). The output of
    # `openssl rand -hex 32` has 64 characters, and up to 16 different ones.
    if secret is not None and (len(secret) < 32 or len(set(secret)) < 8):
        yield (
            "JWT_SECRET",
            "is too easy to guess (it needs 32 characters, at least 8 of them different); write the output"
            " of: openssl rand -hex 32",
        )
    # Otherwise each service that signs tokens would have the operator's credential.
    if secret is not None and secret == values["ADMIN_KEY"]:
        yield "JWT_SECRET", "is the same as ADMIN_KEY; write another one: openssl rand -hex 32"
