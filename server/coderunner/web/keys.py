"""What the handlers find in the application, typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from coderunner.config import Settings
from coderunner.sessions.catalog import LanguageCatalog
from coderunner.sessions.registry import Registry
from coderunner.sessions.warm import WarmPool
from coderunner.sessions.workers import WorkerPool


@dataclass(frozen=True, slots=True)
class Parts:
    """The server's parts as the handlers see them.

    ``ready`` answers the reasons why no session could start now (none: one could).
    ``languages_folder`` holds the samples; ``static`` the web client.
    """

    settings: Settings
    registry: Registry
    catalog: LanguageCatalog
    warm: WarmPool
    workers: WorkerPool
    ready: Callable[[], Awaitable[list[str]]]
    static: Path
    languages_folder: Path


PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)
SOCKETS: web.AppKey[set[Any]] = web.AppKey("sockets", set)
