"""All runs that programs ordered, of now and of the last ten minutes: found by their ids and by their keys.

What is kept of them has a bound, counted by what each may come to need; and no caller may have more than
half."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
from msgspec.structs import replace

from coderunner.errors import BadLimit, KeyReused, NoRun, SpoolFull
from coderunner.fleet.catalog import LanguageCatalog
from coderunner.fleet.registry import Caller, Registry
from coderunner.jobs.job import ABOUT, About, Job, messages, store, stored
from coderunner.logs import fields
from coderunner.schema.api import RunRequest
from coderunner.schema.check import problems
from coderunner.schema.limits import RequestedLimits
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

KEPT_SECONDS = 600.0  # for which an answer is had again
SWEEP_SECONDS = 5.0
OUTPUT_BYTES, MOST_OUTPUT = 1024 * 1024, 8 * 1024 * 1024  # of a run: without a request, and at most
WALL_MS = 60_000  # of a run, without a request
SLACK = 5 * 1024 * 1024  # what may come between the order to end a program and its end
SMALLEST = 64 * 1024  # what an answer counts as, at least
REQUESTS, REQUESTS_OF_ONE = 96 * 1024 * 1024, 32 * 1024 * 1024  # bytes of memory: of runs that have not ended
SHARE = 2  # the part of the spool that one caller may have: one half


class Runs:
    """``folder`` is this server's alone; ``most``: bytes that all runs may take in it."""

    def __init__(self, folder: Path, registry: Registry, catalog: LanguageCatalog, most: int) -> None:
        self._folder = folder
        self._registry = registry
        self._catalog = catalog
        self._most = most
        self._jobs: dict[str, Job] = {}
        self._by_key: dict[str, Job] = {}
        self._sizes: dict[Job, int] = {}
        self._total = 0
        self._held: Counter[Whose] = Counter()  # by caller
        self._requests: dict[Job, int] = {}  # bytes of memory
        self._tasks = Tasks("runs")

    # --- beginning ---------------------------------------------------------------------------------------

    def begin(self, wanted: RunRequest, caller: Caller, key: str | None) -> Job:
        """A new run, or the one that this caller began with this key.

        Raises KeyReused, SpoolFull, and all that is wrong with the request, with nothing begun.
        """
        digest = hashlib.sha256(msgspec.json.encode(wanted, order="sorted")).hexdigest()
        named = _digest(caller.principal, key) if key is not None else ""
        known = self._by_key.get(named)
        if known is not None:
            if known.about.digest != digest:
                raise KeyReused("this Idempotency-Key was used with another request; choose a new one")
            return known
        job = self._make(self._about(wanted, caller, named, digest))
        self._start(job)
        return job

    def _about(self, wanted: RunRequest, caller: Caller, named: str, digest: str) -> About:
        language = self._catalog.language(wanted.language)
        limits = dict(wanted.limits)
        usual = self._catalog.limits(wanted.language)
        wrong = [problem.sentence("limits") for problem in problems(RequestedLimits, limits)]
        if wrong:
            raise BadLimit("; ".join(wrong))
        output = limits.setdefault("output_bytes", min(OUTPUT_BYTES, usual.output_bytes))
        if output > MOST_OUTPUT:
            raise BadLimit(f"output_bytes may be at most {MOST_OUTPUT} here; open a session for more")
        limits.setdefault("wall_ms", min(WALL_MS, usual.wall_ms))
        about = About(
            id=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(16),
            key=named,
            digest=digest,
            principal=caller.principal,
            address=caller.address,
            version=language.version,
            compiles=False,
            room=2 * output + SMALLEST,
            created=time.time(),
            request=replace(wanted, entry=wanted.entry or language.entry, limits=limits),
        )
        about.compiles = self._registry.check(*messages(about)).first_phase == "compiling"
        self._make_room(about)
        return about

    def _make_room(self, about: About) -> None:
        """Raises SpoolFull."""
        weight, whose = _weight(about.request), _whose(about)
        need = about.room + SLACK + weight
        of_one = sum(held for job, held in self._requests.items() if _whose(job.about) == whose)
        if (
            self._total + need <= self._most
            and self._held[whose] + need <= self._most // SHARE
            and sum(self._requests.values()) + weight <= REQUESTS
            and of_one + weight <= REQUESTS_OF_ONE
        ):
            return
        ends = [job.ended_at + KEPT_SECONDS - time.time() for job in self._jobs.values() if job.done]
        wait = max(1.0, min(ends, default=5.0)) + SWEEP_SECONDS
        raise SpoolFull(retry_after_ms=round(wait * 1000))

    def _count(self, job: Job) -> None:
        """What it takes, or may come to take, has changed."""
        size = 0
        self._requests.pop(job, None)
        if job.done:
            size = SMALLEST + job.stored
        elif job.error is None:
            weight = self._requests[job] = _weight(job.about.request)
            size = job.about.room + SLACK + weight
        more = size - self._sizes.pop(job, 0)
        if job.id in self._jobs:
            self._sizes[job] = size
        else:
            self._requests.pop(job, None)
            more -= size
        whose = _whose(job.about)
        self._total += more
        self._held[whose] += more
        if not self._held[whose]:
            del self._held[whose]

    def _make(self, about: About) -> Job:
        folder = self._folder / about.id
        folder.mkdir(parents=True, mode=0o700)
        try:
            store(folder / ABOUT, (stored(about),))
            job = Job(about, folder, self._registry)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return job

    def _start(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._count(job)
        if job.about.key:
            self._by_key[job.about.key] = job
        if not job.done:
            self._tasks.start(self._run(job), "run")

    async def _run(self, job: Job) -> None:
        try:
            await job.run()
        finally:
            self._count(job)
        self._keep_bound()
        if job.error is not None:
            log.info("run not begun", extra=fields(code=job.error.code))
        if job.error is not None or (job.done and job.unwanted):
            self.forget(job)  # a key may be tried again

    def _keep_bound(self) -> None:
        """An answer may be a dozen times as long as its output: the oldest of whoever has most go early."""
        while self._total > self._most:
            ended = [job for job in self._jobs.values() if job.done]
            if not ended:
                return
            self.forget(min(ended, key=lambda job: (-self._held[_whose(job.about)], job.ended_at)))

    # --- finding -----------------------------------------------------------------------------------------

    def find(self, name: str, caller: Caller) -> Job:
        """NoRun, always the same, for whatever does not fit."""
        job = self._jobs.get(name)
        if job is None or job.about.principal != caller.principal:
            raise NoRun()
        return job

    def forget(self, job: Job) -> None:
        """Nothing is kept of it."""
        if self._jobs.pop(job.id, None) is not None:
            if self._by_key.get(job.about.key) is job:
                del self._by_key[job.about.key]
            self._count(job)
            job.remove()

    def gone(self, job: Job) -> None:
        """The caller of a run without a key is gone: nobody can ask for it again."""
        if job.suspended:
            return  # the next server ends it
        if job.over:
            self.forget(job)
        else:
            job.unwanted = True
            job.cancel()

    # --- time --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Goes on with what the server before had begun; what nobody can ask for is ended."""
        with contextlib.suppress(FileNotFoundError):
            for folder in sorted(self._folder.iterdir()):
                try:
                    about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
                    job = Job(about, folder, self._registry, resumed=True)
                except (OSError, ValueError) as error:
                    log.warning(
                        "a stored run cannot be read", extra=fields(run=folder.name[:4], why=str(error))
                    )
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                self._start(job)
                if not about.key:
                    self.gone(job)

    async def watch(self) -> None:
        """Forgets answers when their time is up."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.time()
            for job in list(self._jobs.values()):
                if job.done and now > job.ended_at + KEPT_SECONDS:
                    self.forget(job)

    async def close(self) -> None:
        """The server stops; what has not ended is there for the next."""
        await self._tasks.stop()


def _digest(principal: str | None, key: str) -> str:
    return hashlib.sha256(f"{principal or ''}\0{key}".encode()).hexdigest()


def _weight(request: RunRequest) -> int:
    """Bytes of memory that what it is given takes, about: some texts have four for each character."""
    texts = (request.source, request.stdin, request.stdin_base64, *request.args, *request.env.values())
    files = sum(sys.getsizeof(file.content) + sys.getsizeof(file.path) for file in request.files)
    return files + sum(sys.getsizeof(one) for one in texts if one is not None)


Whose = tuple[str | None, str]


def _whose(about: About) -> Whose:
    return about.principal, "" if about.principal else about.address
