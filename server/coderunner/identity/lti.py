"""Launches from a learning platform (Moodle, Canvas) with LTI 1.3: user, course and role.

The platform sends the browser here (`begin`), this server sends it back to the platform with a `state` and a
`nonce`, and the platform's page posts a signed token here (`finish`): the OpenID Connect implicit flow that
the 1EdTech Security Framework 1.0, section 5.1, describes. Nothing else of the platform is used: no grades,
no list of members.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from coderunner.errors import NotAllowed, RateLimited, Unauthenticated
from coderunner.identity.principal import TEACHER, USER, Principal, name_of, room_name, subject_of
from coderunner.identity.sealing import Sealer
from coderunner.identity.sign_ins import SignIns
from coderunner.identity.target import local_target
from coderunner.identity.tokens import Verifier

BEGUN_SECONDS = 600.0  # between the two requests; the platform may have its user sign in first
MAX_HINT = 2048  # characters; they are passed back to the platform as they came
MAX_TOKEN = 32 * 1024  # characters; it comes in a form, with the course, custom values and services
MAX_LAUNCHES = 10_000  # launches in BEGUN_SECONDS, whose nonces are remembered as used
CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
LAUNCH = "LtiResourceLinkRequest"
# LTI 1.3 Core, appendix A.2.3: roles in this course. Those of the institution or the platform's system do not
# count: somebody who teaches elsewhere in the school may be a student here.
_COURSE = "http://purl.imsglobal.org/vocab/lis/v2/membership"
TEACHES = frozenset(
    (
        f"{_COURSE}#Instructor",
        f"{_COURSE}/Instructor#TeachingAssistant",
        "Instructor",  # the short form, which the specification lets platforms send for roles of the course
    )
)
_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """The learning platform. `authorize`: its URL for authentication requests. `deployments`: ids of the
    accepted deployments; empty for all of this client."""

    issuer: str
    client_id: str
    authorize: str
    deployments: frozenset[str]


class Lti:
    """Launches from one platform, whose subjects begin with `lti:`. `verifier`: of its tokens."""

    def __init__(self, platform: Platform, verifier: Verifier, sealer: Sealer, sign_ins: SignIns) -> None:
        self._platform = platform
        self._verifier = verifier
        self._sealer = sealer
        self._sign_ins = sign_ins
        self._used: OrderedDict[str, float] = (
            OrderedDict()
        )  # nonces of launches, with the time when they expire

    def begin(self, asked: Mapping[str, str], redirect: str) -> tuple[str, str]:
        """Handles the platform's initiation of a login. Returns (the URL at the platform, the cookie's text).

        `asked`: the request's parameters. `redirect`: this server's URL for the launch. Raises
        Unauthenticated for another platform's request, or an incomplete one.
        """
        platform = self._platform
        if (
            asked.get("iss") != platform.issuer
            or asked.get("client_id", platform.client_id) != platform.client_id
        ):
            raise Unauthenticated("this server does not know that platform: see LTI_ISSUER and LTI_CLIENT_ID")
        hints = {name: asked[name] for name in ("login_hint", "lti_message_hint") if name in asked}
        if not hints.get("login_hint") or any(len(hint) > MAX_HINT for hint in hints.values()):
            raise Unauthenticated(f"the platform sent no login_hint, or one of over {MAX_HINT} characters")
        state, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        # The names and values are those of the Security Framework, section 5.1.1.2.
        query = {
            "scope": "openid", "response_type": "id_token", "response_mode": "form_post", "prompt": "none",
            "client_id": platform.client_id, "redirect_uri": redirect, "state": state, "nonce": nonce,
            **hints,
        }  # fmt: skip
        sealed = {"state": state, "nonce": nonce, "expires": time.time() + BEGUN_SECONDS}
        return f"{platform.authorize}?{urlencode(query)}", self._sealer.seal("lti", sealed)

    async def finish(self, cookie: str, posted: Mapping[str, str], origin: str) -> tuple[str, str]:
        """Completes a launch. Returns (the text of the sign-in's cookie, the path to go to).

        `cookie`: from `begin`. `posted`: the form. `origin`: this server's own, in lower case; a link to
        another origin is replaced by the page. Raises Unauthenticated if cookie, form and token do not belong
        together, NotAllowed for a launch that is not supported, IdentityUnavailable, RateLimited.
        """
        begun = self._sealer.unseal("lti", cookie, time.time())
        # Cookie and state bind the launch to the browser in which it began, against stolen tokens and login
        # CSRF.
        if begun is None:
            raise Unauthenticated(
                "the launch took too long, or the browser keeps no cookies of this site; let the platform"
                " open it in a new window"
            )
        if not hmac.compare_digest(posted.get("state", "").encode(), begun["state"].encode()):
            raise Unauthenticated("this belongs to another launch; open the link in the course again")
        if "error" in posted:
            raise NotAllowed("the platform refused the launch")
        claims = await self._verifier.verify(posted.get("id_token", ""))
        nonce = str(claims.get("nonce", ""))
        if not hmac.compare_digest(nonce.encode(), begun["nonce"].encode()):
            raise Unauthenticated("the token belongs to another launch; open the link in the course again")
        self._use(nonce, begun["expires"])
        self._check(claims)
        try:
            return self._sign_ins.made(principal(self._platform.issuer, claims)), _target(claims, origin)
        except ValueError as error:
            raise NotAllowed(f"the platform's token cannot be used: {error}") from None

    def _use(self, nonce: str, until: float) -> None:
        """Marks a nonce as used. Raises Unauthenticated if it was, RateLimited for too many launches."""
        while self._used and next(iter(self._used.values())) < time.time():
            self._used.popitem(last=False)
        if nonce in self._used:
            raise Unauthenticated("this launch was used already; open the link in the course again")
        # No nonce is dropped early, or its launch could be replayed.
        if len(self._used) >= MAX_LAUNCHES:
            raise RateLimited(
                "too many launches at this time; open the link again later", retry_after_ms=60_000
            )
        # Kept until its cookie expires, but not over a restart: a replay then needs both the token and the
        # browser's cookie.
        self._used[nonce] = until

    def _check(self, claims: Mapping[str, Any]) -> None:
        # Security Framework, section 5.1.3: the party to which the token was issued.
        if claims.get("azp", self._platform.client_id) != self._platform.client_id:
            raise Unauthenticated("the platform's token is for another tool")
        if claims.get(CLAIM + "version") != "1.3.0" or claims.get(CLAIM + "message_type") != LAUNCH:
            raise NotAllowed(f"this server takes {LAUNCH} of LTI 1.3.0 only, and no deep linking")
        deployment = claims.get(CLAIM + "deployment_id")
        if not isinstance(deployment, str) or not deployment:
            raise NotAllowed("the platform names no deployment")
        if self._platform.deployments and deployment not in self._platform.deployments:
            raise NotAllowed("this deployment is not in LTI_DEPLOYMENTS")


def principal(issuer: str, claims: Mapping[str, Any]) -> Principal:
    """The principal of a verified launch, in the room of its course. Raises ValueError."""
    roles = claims.get(CLAIM + "roles")
    teaches = isinstance(roles, list) and any(role in TEACHES for role in roles if isinstance(role, str))
    room = room_of(issuer, claims.get(CLAIM + "context"))
    return Principal(
        subject_of("lti", claims.get("sub")),
        # Platforms can be told to send no names.
        name_of(claims.get("name"), str(claims["sub"])),
        # Without a course there is no room, and teachers have rights in rooms only.
        frozenset((USER, TEACHER)) if teaches and room is not None else frozenset((USER,)),
        frozenset((room,)) if room is not None else frozenset(),
        how="lti",
    )


def room_of(issuer: str, context: object) -> str | None:
    """The name of a course's room: its label or title, and a digest of its id. None without a course.

    Labels are chosen by teachers and may be equal; with the platform's id two courses never share a room.
    """
    if not isinstance(context, dict) or not isinstance(context.get("id"), str) or not context["id"]:
        return None
    digest = hashlib.sha256(f"{issuer}\n{context['id']}".encode()).hexdigest()[:12]
    label = context.get("label") or context.get("title")
    words = _LABEL.sub("-", label).strip("-._")[:40] if isinstance(label, str) else ""
    name = f"{words}-{digest}" if words else f"course-{digest}"
    return name if room_name(name) else f"course-{digest}"


def _target(claims: Mapping[str, Any], origin: str) -> str:
    """The path on this server to which the launch's link leads; the page for any other address."""
    text = claims.get(CLAIM + "target_link_uri")
    if not isinstance(text, str):
        return "/"
    try:
        parts = urlsplit(text)
        if f"{parts.scheme}://{parts.netloc}".lower() != origin:
            return "/"
    except ValueError:
        return "/"
    path = local_target((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    # Most platforms send the launch's own URL, which is not a page.
    return "/" if path.partition("?")[0].endswith(("/auth/lti/launch", "/auth/lti/login")) else path
