"""What is left of a caller's quotas, in the headers of answers (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from coderunner.sessions.quotas import Account, Left


def headers(account: Account) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit`; none where nothing that is counted has a limit."""
    left = account.left()
    if not left:
        return {}
    return {
        "RateLimit-Policy": ", ".join(_policy(one) for one in left),
        "RateLimit": ", ".join(f'"{one.kind}";r={one.remaining};t={one.reset}' for one in left),
    }


def _policy(left: Left) -> str:
    unit = {"cpu": ';qu="seconds"', "output": ';qu="content-bytes"'}.get(left.kind, "")
    return f'"{left.kind}";q={left.of};w={left.seconds}{unit}'
