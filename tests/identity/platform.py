"""A learning platform for tests: signs what a test wants it to say, and serves its keys."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import rsa

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
COURSE = "http://purl.imsglobal.org/vocab/lis/v2/membership"
SCHOOL = "http://purl.imsglobal.org/vocab/lis/v2/institution/person"
CLIENT = "tool-7"


class Platform:
    """`url`: its issuer and address. Its pages are not simulated: tests do what a browser would there."""

    def __init__(self, url: str = "https://moodle.example") -> None:
        self.url = url
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def keys(self) -> dict[str, Any]:
        """Its key set (JWKS)."""
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}

    def claims(self, nonce: str, target: str, **changed: Any) -> dict[str, Any]:
        """Those of a launch as Moodle writes them; `changed`: others, None leaves one out. The names of LTI's
        own claims are written without their prefix, as `lti_roles`."""
        now = int(time.time())
        found: dict[str, Any] = {
            "iss": self.url, "aud": CLIENT, "sub": "42", "exp": now + 60, "iat": now, "nonce": nonce,
            "name": "Alice Example", "given_name": "Alice", "email": "alice@example.com",
            CLAIM + "version": "1.3.0", CLAIM + "message_type": "LtiResourceLinkRequest",
            CLAIM + "deployment_id": "1", CLAIM + "target_link_uri": target,
            CLAIM + "resource_link": {"id": "9", "title": "Exercise 1"},
            CLAIM + "context": {"id": "5", "label": "CS 101", "title": "Programming"},
            CLAIM + "roles": [COURSE + "#Learner"],
        }  # fmt: skip
        for name, value in changed.items():
            whole = CLAIM + name.removeprefix("lti_") if name.startswith("lti_") else name
            found.pop(whole, None)
            if value is not None:
                found[whole] = value
        return found

    def signed(self, claims: dict[str, Any], **header: Any) -> str:
        """The token of a launch."""
        return jwt.encode(claims, self.key, "RS256", headers={"kid": "k1", **header})


@contextlib.contextmanager
def platform() -> Iterator[Platform]:
    """One that serves its keys."""
    one = Platform()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = orjson.dumps(one.keys())
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            """Nothing of it belongs into a test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        one.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield one
        finally:
            server.shutdown()
            thread.join(10)
