"""Settings of the interfaces of other systems."""

from __future__ import annotations

from typing import Annotated

from coderunner.schema import forms
from coderunner.schema.settings.doc import Doc
from coderunner.schema.settings.identity import IdentitySettings
from coderunner.schema.types import one_of

FACADES = ("piston", "judge0", "jobe")


class FacadeSettings(IdentitySettings, frozen=True, kw_only=True):
    """Which other systems' interfaces the server has."""

    facades: Annotated[
        tuple[Annotated[str, one_of(FACADES)], ...],
        Doc(
            "",
            f"Interfaces of other systems that the server has beside its own, separated by commas:"
            f" {', '.join(FACADES)} (docs/moving.md). Empty: none.",
        ),
    ]
    mcp: Annotated[
        str,
        one_of(("on", "off")),
        Doc(
            "off",
            "Whether /mcp offers sessions to agents as tools, by the Model Context Protocol (docs/agents.md)."
            " Needs the extra `mcp`, and starts a process of its own with the first request.",
        ),
    ]
    judge0_callback_hosts: Annotated[
        tuple[Annotated[str, forms.HOST], ...],
        Doc(
            "",
            "Hosts to which the end of a Judge0 submission may be told (callback_url), separated by commas;"
            " their addresses must be of the internet, not of a private network. Empty: no callbacks.",
        ),
    ]
