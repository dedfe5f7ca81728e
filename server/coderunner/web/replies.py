"""JSON answers."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web


def json_reply(document: Any, status: int = 200) -> web.Response:
    """An answer with JSON as its body."""
    return web.Response(
        body=orjson.dumps(document),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
