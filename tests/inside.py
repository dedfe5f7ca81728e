"""A server in the tests' own process, for those that look at it from inside or have parts of it fail."""

from __future__ import annotations

import secrets
from pathlib import Path

from coderunner import config
from coderunner.config import Settings


def bash_settings(state: Path, **more: str) -> Settings:
    """Those of a server with one language and one container that waits, under a name of its own."""
    return config.load(
        {
            "PORT": "0",
            "STATE_DIR": str(state),
            "INSTANCE_NAME": f"test-{secrets.token_hex(4)}",
            "LANGUAGES": "bash",
            "WARM_MAX": "1",
            "RELOAD": "off",
            **more,
        }
    )
