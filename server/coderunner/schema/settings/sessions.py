"""Settings of sessions: how long they live, what they may hold, which containers wait for them."""

from __future__ import annotations

from typing import Annotated

from coderunner.schema import forms
from coderunner.schema.settings.doc import DAY_MS, Doc
from coderunner.schema.settings.engine import EngineSettings
from coderunner.schema.types import whole


class SessionSettings(EngineSettings, frozen=True, kw_only=True):
    """How long sessions live, what they may hold, and the containers that wait for them."""

    session_ttl: Annotated[
        int,
        whole(10_000, 30 * DAY_MS),
        forms.DURATION,
        Doc(
            "14400000",
            "Longest duration of a session.",
            unit="ms",
        ),
    ]
    session_idle_timeout: Annotated[
        int,
        whole(1000, 30 * DAY_MS),
        forms.DURATION,
        Doc(
            "900000",
            "How long a session may be without input, runs and a running program before it is ended.",
            unit="ms",
        ),
    ]
    session_resume_min: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "60000",
            "How long a session waits for a lost client while others wait for a slot.",
            unit="ms",
        ),
    ]
    session_resume_max: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "900000",
            "How long a session waits for a lost client while nobody waits for a slot.",
            unit="ms",
        ),
    ]
    view_ttl: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "300000",
            "How long the URL of a file that a program made is valid; the page extends it while it shows the"
            " file.",
            unit="ms",
        ),
    ]
    cleanup_interval: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "60000",
            "How often containers of this instance without a session are removed.",
            unit="ms",
        ),
    ]
    watchdog_interval: Annotated[
        int,
        whole(0, 60_000),
        forms.DURATION,
        Doc(
            "1000",
            "How often the server checks whether a session uses too many kernel resources that its"
            " container's limits do not count; such a session is ended. 0: never.",
            unit="ms",
        ),
    ]
    buffer_memory: Annotated[
        int,
        whole(32 * 1024**2, 64 * 1024**3),
        forms.SIZE,
        Doc(
            "384m",
            "Most memory of the server for the output, input, file transfers and messages of all sessions"
            " together; for one session it is 24m. If it is used up, the session with most is ended."
            " MemoryMax of the unit must be one and a half times this and 400m more.",
            unit="bytes, or with k, m or g",
        ),
    ]
    spool_size: Annotated[
        int,
        whole(16 * 1024**2, 64 * 1024**3),
        forms.SIZE,
        Doc(
            "1g",
            "Most disk space in STATE_DIR for runs over HTTP: the output of running ones, and answers, which"
            " are kept for ten minutes if the caller gave an Idempotency-Key. One caller may use half of it.",
            unit="bytes, or with k, m or g",
        ),
    ]
    max_file_size: Annotated[
        int,
        whole(1024, 4 * 1024**2),
        forms.SIZE,
        Doc(
            "1m",
            "Largest file within a message; larger files are sent by separate requests.",
            unit="bytes, or with k, m",
        ),
    ]
    max_archive_size: Annotated[
        int,
        whole(1024, 256 * 1024**2),
        forms.SIZE,
        Doc(
            "16m",
            "Largest zip or tar archive that a client may upload, and largest file in a request of its own.",
            unit="bytes, or with k, m",
        ),
    ]
    max_files_per_session: Annotated[
        int,
        whole(1, 4096),
        Doc(
            "256",
            "Most files that a client may send.",
        ),
    ]
    languages: Annotated[
        tuple[Annotated[str, forms.LANGUAGE], ...],
        Doc(
            "",
            "Names of the languages to offer, separated by commas. Empty: all.",
        ),
    ]
    warm_floor: Annotated[
        int,
        whole(0, 1000),
        Doc(
            "1",
            "Least number of idle containers of each language, with which sessions start at once.",
        ),
    ]
    warm_max: Annotated[
        int,
        whole(0, 1000),
        Doc(
            "12",
            "Most idle containers of all languages together.",
        ),
    ]
