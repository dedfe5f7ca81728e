"""Declares every setting: name, type, bounds, default, unit, help.
Parsers and documents are derived from this.

A field's name in capitals is the setting's name. Durations are in milliseconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec.structs import fields

from coderunner.schema import forms
from coderunner.schema.check import bare_of
from coderunner.schema.settings.doc import Doc
from coderunner.schema.settings.records import RecordSettings
from coderunner.schema.types import one_of

EXAMPLE_ADMIN_KEY = "replace-me-with-the-output-of-openssl-rand-hex-32"


class Settings(RecordSettings, frozen=True, kw_only=True):
    """The validated settings.

    This class has the fields about access and the canary; the other groups are its base classes. These
    inherit from each other in a chain, as multiple inheritance would not keep
    the order of the fields in the documents.
    """

    canary: Annotated[
        str,
        one_of(("auto", "on", "off")),
        Doc(
            "auto",
            "Whether the server attacks its own containers at start-up; it refuses to serve if a container"
            " limit is not enforced. auto: on in production, off in development.",
        ),
    ]
    allowed_hosts: Annotated[
        tuple[Annotated[str, forms.HOST_PORT], ...],
        Doc(
            "",
            "Host names under which the server is reached, separated by commas. Loopback names are always"
            " allowed in development.",
            required_in_production=True,
            example="coderunner.example.com",
        ),
    ]
    allowed_origins: Annotated[
        tuple[Annotated[str, forms.ORIGIN], ...],
        Doc(
            "",
            "Other origins whose pages may open sessions, separated by commas. The server's own is always"
            " allowed.",
        ),
    ]
    trusted_proxies: Annotated[
        tuple[Annotated[str, forms.PROXY], ...],
        Doc(
            "",
            "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted,"
            " separated by commas.",
            production_default="127.0.0.1,::1",
        ),
    ]
    admin_key: Annotated[
        str | None,
        forms.SECRET,
        Doc(
            "",
            "The first operator's credential, 32 characters or more. To make one: openssl rand -hex 32",
            required_in_production=True,
            example=EXAMPLE_ADMIN_KEY,
            secret=True,
        ),
    ]

    @property
    def production(self) -> bool:
        """Whether the server runs in production mode, where untrusted clients can reach it."""
        return self.app_env == "production"

    def __repr__(self) -> str:
        """Without the secrets: the text may end up in a log or a traceback."""
        shown = (f"{one.field}={getattr(self, one.field)!r}" for one in SETTINGS if not one.doc.secret)
        return f"Settings({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting, as the environment and the documents name it: a field of `Settings` with its type."""

    field: str
    kind: Any
    doc: Doc

    @property
    def name(self) -> str:
        """The name in the environment and in `.env`."""
        return self.field.upper()

    @property
    def help(self) -> str:
        """The description for the documents."""
        return self.doc.help

    @property
    def default(self) -> str:
        """The default, as it would be written in `.env`."""
        return self.doc.default

    @property
    def is_list(self) -> bool:
        """Whether it is a comma-separated list."""
        return forms.is_list(bare_of(self.kind))

    def parse(self, text: str) -> Any:
        """Parses a stripped, non-empty text. Raises ValueError, whose text completes "write ..."."""
        return forms.read(self.kind, text)

    def default_for(self, app_env: str) -> str:
        """The default in the mode `app_env`, as it would be written in `.env`."""
        if app_env == "production" and self.doc.production_default is not None:
            return self.doc.production_default
        return self.doc.default


def _doc_of(kind: Any) -> Doc:
    """The description in a field's annotations."""
    return next(one for one in kind.__metadata__ if isinstance(one, Doc))


# In the order of the fields, which is that of the documents.
SETTINGS = tuple(Setting(one.name, one.type, _doc_of(one.type)) for one in fields(Settings))
