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
            "Longest life of a session.",
            unit="ms",
        ),
    ]
    session_idle_timeout: Annotated[
        int,
        whole(1000, 30 * DAY_MS),
        forms.DURATION,
        Doc(
            "900000",
            "A session without input, run and live program ends after this time.",
            unit="ms",
        ),
    ]
    session_resume_min: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "60000",
            "How long a session waits for a lost client while others want its slot.",
            unit="ms",
        ),
    ]
    session_resume_max: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "900000",
            "How long a session waits for a lost client while nobody wants its slot.",
            unit="ms",
        ),
    ]
    view_ttl: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "300000",
            "How long an address opens a file that a program made; while the page shows it, it is kept.",
            unit="ms",
        ),
    ]
    cleanup_interval: Annotated[
        int,
        whole(1000, DAY_MS),
        forms.DURATION,
        Doc(
            "60000",
            "How often containers of this instance that nobody owns are looked for and removed.",
            unit="ms",
        ),
    ]
    watchdog_interval: Annotated[
        int,
        whole(0, 60_000),
        forms.DURATION,
        Doc(
            "1000",
            "How often the server looks whether a session takes from the machine what no limit of its"
            " container counts; who takes too much is ended. 0: never.",
            unit="ms",
        ),
    ]
    buffer_memory: Annotated[
        int,
        whole(32 * 1024**2, 64 * 1024**3),
        forms.SIZE,
        Doc(
            "384m",
            "What all sessions together may make the server hold: output, input, files under way,"
            " messages for clients. Each alone may 24m. Where it is used up, who holds most is ended."
            " MemoryMax of the unit must be 400m above one and a half times this.",
            unit="bytes, or with k, m or g",
        ),
    ]
    spool_size: Annotated[
        int,
        whole(16 * 1024**2, 64 * 1024**3),
        forms.SIZE,
        Doc(
            "1g",
            "What runs over HTTP may take in STATE_DIR: the output of those that run, and answers, which are"
            " kept for ten minutes where the caller gave an Idempotency-Key. One caller may have half of it.",
            unit="bytes, or with k, m or g",
        ),
    ]
    max_file_size: Annotated[
        int,
        whole(1024, 4 * 1024**2),
        forms.SIZE,
        Doc(
            "1m",
            "Largest file that travels in a message; others are sent by themselves.",
            unit="bytes, or with k, m",
        ),
    ]
    max_archive_size: Annotated[
        int,
        whole(1024, 256 * 1024**2),
        forms.SIZE,
        Doc(
            "16m",
            "Largest zip or tar that a client may send to be unpacked, and largest file that it may send"
            " by itself.",
            unit="bytes, or with k, m",
        ),
    ]
    max_files_per_session: Annotated[
        int,
        whole(1, 4096),
        Doc(
            "256",
            "Most files that a client sends.",
        ),
    ]
    languages: Annotated[
        tuple[Annotated[str, forms.LANGUAGE], ...],
        Doc(
            "",
            "Names of the languages to offer, separated by commas. Empty: all that are installed.",
        ),
    ]
    warm_floor: Annotated[
        int,
        whole(0, 1000),
        Doc(
            "1",
            "Waiting containers that each language keeps at least, so that a session starts at once.",
        ),
    ]
    warm_max: Annotated[
        int,
        whole(0, 1000),
        Doc(
            "12",
            "Waiting containers of all languages together, at most.",
        ),
    ]
