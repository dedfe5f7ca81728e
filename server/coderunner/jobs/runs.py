"""All runs and batches that are running or ended in the last ten minutes, by id and by `Idempotency-Key`.

The disk space and memory that each may need are reserved before it begins, and are limited in all. No caller
may have more than half of the disk space.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict, TypeVar

import msgspec
from msgspec.structs import replace

from coderunner import audit
from coderunner.core.networks import site
from coderunner.errors import BadLimit, KeyReused, NoRun, SpoolFull
from coderunner.fleet.catalog import LanguageCatalog
from coderunner.fleet.registry import Caller, Registry
from coderunner.jobs import batch, job
from coderunner.jobs.about import (
    About,
    AboutBatch,
    AboutWork,
    Plan,
    checking,
    messages,
    stored,
    submission,
)
from coderunner.jobs.batch import Batch
from coderunner.jobs.bench import COMPILE_OUTPUT, check_language
from coderunner.jobs.job import Job
from coderunner.jobs.work import Work, not_stored, store
from coderunner.logs import fields
from coderunner.schema.api import RunRequest
from coderunner.schema.batches import MAX_CASE_OUTPUT, BatchRequest
from coderunner.schema.check import problems
from coderunner.schema.languages import Language
from coderunner.schema.limits import RequestedLimits
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

KEPT_SECONDS = 600.0  # for which an answer can be fetched
SWEEP_SECONDS = 5.0  # between two removals of old answers
OUTPUT_BYTES, MAX_OUTPUT = 1024 * 1024, 8 * 1024 * 1024  # output of a run: the default, and the most
WALL_MS = 60_000  # default of a run
SLACK = 5 * 1024 * 1024  # bytes of output that may still arrive after a program was killed
# Each run takes four files and an object in memory, however small its output is.
SMALLEST = 64 * 1024  # bytes that an answer counts as at least
# Bytes of memory of unfinished requests, of all callers and of one, as `AboutWork.held` counts them.
REQUESTS, REQUESTS_OF_ONE = 96 * 1024 * 1024, 32 * 1024 * 1024
VERDICT = 2048  # bytes of a verdict's record and of its part of the answer, without the shown output
CASE_WALL_MS, CASE_OUTPUT = 10_000, 1024 * 1024  # limits of a case, by default
SHARE = 2  # one caller may use at most 1/SHARE of the spool, so that others can always begin a run


W = TypeVar("W", bound=Work)


class Runs:
    """Begins, finds and removes runs and batches. `folder`: where they are stored; only this server uses it.
    `maximum`: bytes that they may take there in all (SPOOL_SIZE). `on_end`: called with each work that has
    ended, in this process."""

    def __init__(self, folder: Path, registry: Registry, catalog: LanguageCatalog, maximum: int) -> None:
        self._folder = folder
        self._registry = registry
        self._catalog = catalog
        self._maximum = maximum
        self._jobs: dict[str, Work] = {}
        self._by_key: dict[str, Work] = {}
        self._sizes: dict[Work, int] = {}
        self._total = 0
        self._held: Counter[Whose] = Counter()  # by caller
        self._requests: dict[Work, int] = {}  # bytes of memory
        self._tasks = Tasks("runs")
        self.on_end: list[Callable[[Work], None]] = []

    # --- beginning ---------------------------------------------------------------------------------------

    def begin(
        self, wanted: RunRequest | BatchRequest, caller: Caller, key: str | None, plan: Plan | None = None
    ) -> Work:
        """Begins a run or batch, or returns the one that this caller began with this key.

        `key`: the `Idempotency-Key`, None without one. `plan`: as of `Plan`. Raises KeyReused,
        SpoolFull, and the errors of an invalid request.
        """
        # Sorted: two requests that differ in the order of their fields are the same.
        digest = hashlib.sha256(msgspec.json.encode(wanted, order="sorted")).hexdigest()
        named = _digest(caller.principal, key) if key is not None else ""
        known = self._by_key.get(named)
        if known is not None:
            if known.about.digest != digest:
                raise KeyReused("this Idempotency-Key was used with another request; choose a new one")
            return known
        if isinstance(wanted, BatchRequest):
            about: About | AboutBatch = self._about_batch(wanted, caller, named, digest)
        else:
            about = self._about(wanted, caller, named, digest, plan or Plan())
        self._make_room(about)
        account = self._registry.quotas.account(caller.principal, caller.address, caller.roles)
        # After the other checks, so that a refused request uses no quota.
        account.check_begin(background=key is not None)
        if isinstance(about, AboutBatch):  # one program and one event, and not one for each case
            account.begin()
            audit.note(
                "ran", principal=caller.principal, address=caller.address, language=wanted.language,
                kind="batch", cases=about.count,
            )  # fmt: skip
        try:
            work = self._make(about)
        except OSError as error:
            raise not_stored(self._folder / about.id, error) from None
        self._start(work)
        return work

    def _about(self, wanted: RunRequest, caller: Caller, named: str, digest: str, plan: Plan) -> About:
        language = self._catalog.language(wanted.language)
        limits = self._limits(wanted.language, wanted.limits, OUTPUT_BYTES, MAX_OUTPUT, WALL_MS)
        output = limits["output_bytes"]
        about = About(
            **_of_all(language, caller, named, digest),
            compiles=False,
            # Twice: the records, and the answer, which has the output again; `_keep_bound` handles the rare
            # rest.
            room=2 * output + SMALLEST + len(plan.note),
            request=replace(wanted, entry=wanted.entry or language.entry, limits=limits),
            plan=plan,
        )
        # Set before the messages are made: they have the id.
        about.id = plan.id or about.id
        first = self._registry.check(*messages(about)).first_phase
        scripts = about.plan.scripts
        about.compiles = first == "compiling" if scripts is None else bool(scripts[0])
        return about

    def _limits(
        self, language: str, wanted: Mapping[str, int], output: int, maximum: int, wall_ms: int
    ) -> dict[str, int]:
        """The requested limits, completed by defaults. Raises BadLimit."""
        limits = dict(wanted)
        usual = self._catalog.limits(language)
        wrong = [problem.sentence("limits") for problem in problems(RequestedLimits, limits)]
        if wrong:
            raise BadLimit("; ".join(wrong))
        # Less than a session may print, as the answer of a run is stored as a whole.
        if limits.setdefault("output_bytes", min(output, usual.output_bytes)) > maximum:
            raise BadLimit(f"output_bytes may be at most {maximum} here; open a session for more")
        limits.setdefault("wall_ms", min(wall_ms, usual.wall_ms))
        return limits

    def _about_batch(self, wanted: BatchRequest, caller: Caller, named: str, digest: str) -> AboutBatch:
        language = self._catalog.language(wanted.language)
        check_language(language)
        limits = self._limits(wanted.language, wanted.limits, CASE_OUTPUT, MAX_CASE_OUTPUT, CASE_WALL_MS)
        checker = wanted.checker
        if checker.language is not None:
            of_checker = self._catalog.language(checker.language)
            check_language(of_checker)
            checker = replace(checker, entry=checker.entry or of_checker.entry)
        about = AboutBatch(
            **_of_all(language, caller, named, digest),
            # 4: shown output is in `stdout` and `stderr`, each in a record and in the answer.
            room=len(wanted.cases) * (VERDICT + 4 * wanted.shown_bytes)
            + 4 * max(limits["output_bytes"], COMPILE_OUTPUT),
            count=len(wanted.cases),
            request=replace(wanted, entry=wanted.entry or language.entry, limits=limits, checker=checker),
        )
        self._registry.check(*submission(about))
        if checker.language is not None:
            self._registry.check(*checking(about))
        return about

    def _make_room(self, about: AboutWork) -> None:
        """Checks that there is disk space and memory for it. Raises SpoolFull."""
        whose = _whose(about)
        need = about.room + SLACK + about.held
        of_one = sum(held for work, held in self._requests.items() if _whose(work.about) == whose)
        if (
            self._total + need <= self._maximum
            and self._held[whose] + need <= self._maximum // SHARE
            and sum(self._requests.values()) + about.held <= REQUESTS
            and of_one + about.held <= REQUESTS_OF_ONE
        ):
            return
        ends = [work.ended_at + KEPT_SECONDS - time.time() for work in self._jobs.values() if work.done]
        wait = max(1.0, min(ends, default=5.0)) + SWEEP_SECONDS
        raise SpoolFull(retry_after_ms=round(wait * 1000))

    def _count(self, work: Work) -> None:
        """Updates the space and memory that `work` counts as; called when that has changed."""
        size = 0
        self._requests.pop(work, None)
        if work.done:
            size = SMALLEST + work.stored
        elif work.error is None:
            weight = self._requests[work] = work.about.held
            size = work.about.room + SLACK + weight
        more = size - self._sizes.pop(work, 0)
        if work.id in self._jobs:
            self._sizes[work] = size
        else:
            self._requests.pop(work, None)
            more -= size
        whose = _whose(work.about)
        self._total += more
        self._held[whose] += more
        if not self._held[whose]:
            del self._held[whose]

    def _make(self, about: About | AboutBatch) -> Work:
        folder = self._folder / about.id
        # Only for this user: it contains programs of callers, and tokens of their sessions.
        folder.mkdir(parents=True, mode=0o700)
        name = batch.ABOUT if isinstance(about, AboutBatch) else job.ABOUT
        try:
            if isinstance(about, About) and about.plan.note:
                store(folder / job.NOTE, (about.plan.note,))
                # In a file of its own, as in memory it would be kept as long as the answer.
                about.plan = replace(about.plan, note=b"")
            store(folder / name, (stored(about),))
            return self._work(about, folder)
        except BaseException:
            # A folder with an incomplete record would be unreadable later.
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _work(self, about: About | AboutBatch, folder: Path, *, resumed: bool = False) -> Work:
        if isinstance(about, AboutBatch):
            return Batch(about, folder, self._registry, resumed=resumed)
        return Job(about, folder, self._registry, resumed=resumed)

    def _start(self, work: Work) -> None:
        self._jobs[work.id] = work
        self._count(work)
        if work.about.key:
            self._by_key[work.about.key] = work
        if not work.done:
            self._tasks.start(self._run(work), "run")

    async def _run(self, work: Work) -> None:
        try:
            await work.run()
        finally:
            self._count(work)
        if not work.suspended:
            for told in self.on_end:
                told(work)
        self._keep_bound()  # the answer's size is known only now
        if work.error is not None:
            log.info("run not begun", extra=fields(code=work.error.code, **work.about.facts))
        if (work.error is not None and not work.patient) or (work.done and work.unwanted):
            self.forget(work)  # so that the key can be used for another attempt

    def _keep_bound(self) -> None:
        """Removes answers early if the limit is exceeded, the oldest of the caller with most bytes first.

        The limit may be exceeded when a run ends, as an answer may be twelve times as long as its output.
        A run and its repetitions are removed together, and not while one of them is to end yet. Those of
        which another repetition may begin are the caller's last to go.
        """
        while self._total > self._maximum:
            over = [chain for chain in self._chains() if all(map(_ended, chain))]
            ended = [chain for chain in over if any(work.done for work in chain)]  # others take no room
            if not ended:
                return
            oldest = min(
                ended,
                key=lambda chain: (
                    -self._held[_whose(chain[0].about)],
                    _may_go_on(chain),
                    max(work.ended_at for work in chain),
                ),
            )
            for work in oldest:
                self.forget(work)

    def _chains(self) -> list[list[Work]]:
        """Each run or batch with its repetitions."""
        chains: dict[str, list[Work]] = {}
        for work in self._jobs.values():
            chains.setdefault(_first_of(work), []).append(work)
        return list(chains.values())

    # --- finding -----------------------------------------------------------------------------------------

    def find(self, name: str, caller: Caller, kind: type[W]) -> W:
        """The run or batch with this id, of this kind and caller. Raises NoRun, with the same message
        whatever does not match, so that ids of other callers cannot be found out."""
        work = self._jobs.get(name)
        # Anonymous callers have the principal None: the id, which is random, is their credential.
        if not isinstance(work, kind) or work.about.principal != caller.principal:
            raise NoRun()
        return work

    def of(self, caller: Caller, kind: type[W]) -> list[W]:
        """The runs or batches of a caller with a principal, the newest first."""
        if caller.principal is None:
            return []
        mine = (
            work
            for work in self._jobs.values()
            if isinstance(work, kind) and work.about.principal == caller.principal
        )
        return sorted(mine, key=lambda work: work.about.created, reverse=True)

    def waiting(self, caller: Caller) -> int:
        """How many runs and batches of this caller have not ended."""
        mine = caller.principal, "" if caller.principal else site(caller.address)
        return sum(not work.over and _whose(work.about) == mine for work in self._jobs.values())

    def forget(self, work: Work) -> None:
        """Removes a run or batch and its files."""
        if self._jobs.pop(work.id, None) is not None:
            if self._by_key.get(work.about.key) is work:
                del self._by_key[work.about.key]
            self._count(work)
            work.remove()

    def gone(self, work: Work) -> None:
        """Cancels a run without a key whose caller disconnected: nobody can ask for it again."""
        if work.suspended:
            return  # the next server ends it
        if work.over:
            self.forget(work)
        else:
            work.unwanted = True
            work.cancel()

    # --- time --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Continues the work of an earlier server; cancels runs without a key, as nobody can fetch them."""
        with contextlib.suppress(FileNotFoundError):
            for folder in sorted(self._folder.iterdir()):
                try:
                    work = self._work(_about_in(folder), folder, resumed=True)
                except (OSError, ValueError) as error:
                    log.warning(
                        # Four characters of the id: the whole one grants access.
                        "a stored run cannot be read",
                        extra=fields(run=folder.name[:4], why=str(error)),
                    )
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                self._start(work)
                if not work.about.key:
                    self.gone(work)

    async def watch(self) -> None:
        """Removes answers KEPT_SECONDS after their end. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(time.time())

    def sweep(self, now: float) -> None:
        """Removes the answers that ended KEPT_SECONDS before `now`, in seconds since 1970.

        A run and its repetitions are removed together, KEPT_SECONDS after the last of them: they are found by
        the first one's id.
        """
        for chain in self._chains():
            if now > KEPT_SECONDS + max(one.ended_at if _ended(one) else math.inf for one in chain):
                for one in chain:
                    self.forget(one)

    async def close(self) -> None:
        """Stops all work. Unfinished work is continued by the next server."""
        await self._tasks.stop()


def _first_of(work: Work) -> str:
    """The id of the run that this one repeats, otherwise its own."""
    return (isinstance(work, Job) and work.about.plan.first) or work.id


def _ended(work: Work) -> bool:
    """Whether it has an answer, or an error in place of one."""
    return work.done or work.error is not None


def _may_go_on(chain: list[Work]) -> bool:
    """Whether another repetition of a run may begin. That depends on how the last one has ended, of which
    only its interface knows."""
    if not isinstance(chain[0], Job) or any(work.error is not None for work in chain):
        return False
    repetitions: int = chain[0].about.plan.again
    return len(chain) <= repetitions


def _digest(principal: str | None, key: str) -> str:
    # With the principal, so that two callers may use the same key. Neither contains \0.
    return hashlib.sha256(f"{principal or ''}\0{key}".encode()).hexdigest()


class _Common(TypedDict):
    id: str
    nonce: str
    key: str
    digest: str
    principal: str | None
    address: str
    told: dict[str, str]
    version: str
    created: float


def _of_all(language: Language, caller: Caller, named: str, digest: str) -> _Common:
    """The fields that runs and batches have in common."""
    return {
        "id": secrets.token_urlsafe(24),
        "nonce": secrets.token_urlsafe(16),
        "key": named,
        "digest": digest,
        "principal": caller.principal,
        "address": caller.address,
        "told": dict(caller.about),
        "version": language.version,
        "created": time.time(),
    }


def _about_in(folder: Path) -> About | AboutBatch:
    """Reads what is stored in `folder`. Raises OSError, ValueError."""
    if (folder / batch.ABOUT).exists():
        return msgspec.json.decode((folder / batch.ABOUT).read_bytes(), type=AboutBatch)
    return msgspec.json.decode((folder / job.ABOUT).read_bytes(), type=About)


Whose = tuple[str | None, str]


def _whose(about: AboutWork) -> Whose:
    # By site: a caller may use half of the spool, so two networks of one site could use all of it.
    return about.principal, "" if about.principal else site(about.address)
