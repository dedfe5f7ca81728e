"""Settings of what the server writes down: the database, the audit log, quotas."""

from __future__ import annotations

from typing import Annotated

from coderunner.schema import forms
from coderunner.schema.settings.doc import Doc
from coderunner.schema.settings.facades import FacadeSettings
from coderunner.schema.types import one_of, whole


class RecordSettings(FacadeSettings, frozen=True, kw_only=True):
    """The database, the audit log and the quotas."""

    database_url: Annotated[
        str | None,
        forms.DATABASE,
        Doc(
            "",
            "Database of keys, guests' tokens, use for quotas, and the audit log. Empty: SQLite in STATE_DIR."
            " For PostgreSQL: postgresql://USER:PASSWORD@HOST/DATABASE",
            secret=True,
        ),
    ]
    audit_retention_days: Annotated[
        int,
        whole(0, 36500),
        Doc(
            "90",
            "How long an event of the audit log is kept; 0: for ever.",
            unit="days",
        ),
    ]
    audit_programs: Annotated[
        str,
        one_of(("on", "off")),
        Doc(
            "off",
            "Whether the audit log has the text of programs (up to 16 KiB of each), and not only their hash"
            " and size.",
        ),
    ]
    quotas_file: Annotated[
        str | None,
        forms.FOLDER,
        Doc(
            "",
            "File with the quotas of each role (docs/quotas.md). Empty: in production those that come with"
            " this version, in development none.",
        ),
    ]
