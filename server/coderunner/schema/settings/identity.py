"""Settings of identity: which credentials the server takes, and what they say of who shows them."""

from __future__ import annotations

from typing import Annotated

from coderunner.schema import forms
from coderunner.schema.settings.doc import DAY_MS, Doc
from coderunner.schema.settings.sessions import SessionSettings
from coderunner.schema.types import one_of, whole


class IdentitySettings(SessionSettings, frozen=True, kw_only=True):
    """Who may use the server, and by which credentials (docs/identity.md)."""

    anonymous: Annotated[
        str,
        one_of(("yes", "no")),
        Doc(
            "yes",
            "Whether callers without a credential may open sessions and run programs. In production this has"
            " to be said: with no, every caller needs an API key, a token or a sign-in.",
            production_default="no",
        ),
    ]
    operators: Annotated[
        tuple[Annotated[str, forms.SUBJECT], ...],
        Doc(
            "",
            "Principals with the role operator, besides those whose credential says so, separated by commas,"
            " for example oidc:248289761001,proxy:alice.",
        ),
    ]
    teachers: Annotated[
        tuple[Annotated[str, forms.SUBJECT], ...],
        Doc("", "Principals with the role teacher, as in OPERATORS."),
    ]
    jwt_secret: Annotated[
        str | None,
        forms.SECRET,
        Doc(
            "",
            "Secret of 32 characters or more with which other services sign tokens (JWT) by HS256.",
            secret=True,
        ),
    ]
    jwt_public_key: Annotated[
        str | None,
        forms.FOLDER,
        Doc("", "Path of a PEM file with the public key of tokens (JWT) signed by RS256 or ES256."),
    ]
    jwt_jwks_url: Annotated[
        str | None,
        forms.WEB_ADDRESS,
        Doc("", "Address of the key set (JWKS) of an issuer of tokens (JWT) signed by RS256 or ES256."),
    ]
    jwt_issuer: Annotated[
        str | None,
        forms.CLAIM_VALUE,
        Doc("", "The `iss` that tokens (JWT) must have; required for them."),
    ]
    jwt_audience: Annotated[
        str | None,
        forms.CLAIM_VALUE,
        Doc("", "The `aud` that tokens (JWT) must have; required for them."),
    ]
    # At most five minutes: "usually no more than a few minutes" (RFC 7519, section 4.1.4).
    jwt_leeway: Annotated[
        int,
        whole(0, 300_000),
        forms.DURATION,
        Doc("10000", "How far the clock of an issuer of tokens may differ from this machine's.", unit="ms"),
    ]
    proxy_user_header: Annotated[
        str | None,
        forms.HEADER,
        Doc(
            "",
            "Header in which a trusted proxy names the user that it has authenticated, for example"
            " X-Remote-User. It counts only from TRUSTED_PROXIES; the proxy must remove a client's own.",
        ),
    ]
    proxy_roles_header: Annotated[
        str | None,
        forms.HEADER,
        Doc("", "Header in which that proxy names the user's roles."),
    ]
    proxy_rooms_header: Annotated[
        str | None,
        forms.HEADER,
        Doc("", "Header in which that proxy names the user's rooms."),
    ]
    oidc_issuer: Annotated[
        str | None,
        forms.WEB_ADDRESS,
        Doc("", "Address of an OpenID Connect provider, with which users sign in to the page."),
    ]
    oidc_client_id: Annotated[
        str | None,
        forms.CLAIM_VALUE,
        Doc("", "This server's client id at that provider; its redirect address is .../auth/callback."),
    ]
    oidc_client_secret: Annotated[
        str | None,
        forms.SECRET,
        Doc("", "This server's client secret there. Empty: a public client, by PKCE alone.", secret=True),
    ]
    oidc_scopes: Annotated[
        tuple[Annotated[str, forms.CLAIM_NAME], ...],
        Doc("openid,profile", "Scopes that are requested at the sign-in, separated by commas."),
    ]
    lti_issuer: Annotated[
        str | None,
        forms.WEB_ADDRESS,
        Doc("", "Platform id (issuer) of a learning platform whose courses launch this server by LTI 1.3."),
    ]
    lti_client_id: Annotated[
        str | None,
        forms.CLAIM_VALUE,
        Doc(
            "",
            "This server's client id there; its addresses are .../auth/lti/login and .../auth/lti/launch.",
        ),
    ]
    lti_auth_url: Annotated[
        str | None,
        forms.WEB_ADDRESS,
        Doc("", "The platform's address for authentication requests."),
    ]
    lti_jwks_url: Annotated[
        str | None,
        forms.WEB_ADDRESS,
        Doc("", "The platform's public key set (JWKS)."),
    ]
    lti_deployments: Annotated[
        tuple[Annotated[str, forms.CLAIM_VALUE], ...],
        Doc("", "Ids of deployments that may launch, separated by commas; empty means all of the client."),
    ]
    roles_claim: Annotated[
        str,
        forms.CLAIM_NAME,
        Doc(
            "roles",
            "Claim of tokens with the roles user, teacher and operator; dots lead into objects, for example"
            " realm_access.roles.",
        ),
    ]
    rooms_claim: Annotated[
        str,
        forms.CLAIM_NAME,
        Doc("rooms", "Claim of tokens with the names of the rooms (courses, teams) of their subject."),
    ]
    sign_in_lifetime: Annotated[
        int,
        whole(60_000, 30 * DAY_MS),
        forms.DURATION,
        Doc("28800000", "How long a sign-in to the page lasts.", unit="ms"),
    ]
