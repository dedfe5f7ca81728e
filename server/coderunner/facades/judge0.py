"""Judge0's interface (CE): submissions alone and in batches, languages, statuses, facts about the server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from coderunner.core import codec
from coderunner.errors import BadMessage, CapacityError, CodeRunnerError, NoRun, RateLimited, Unauthenticated
from coderunner.facades import judge0_repeats as repeats
from coderunner.facades import judge0_shown, running
from coderunner.facades import judge0_submissions as submissions
from coderunner.facades.callbacks import CALLBACKS, Callbacks
from coderunner.facades.judge0_repeats import Repeats
from coderunner.facades.judge0_shown import STATUSES, Facts
from coderunner.facades.judge0_submissions import DEFAULT_FIELDS, FIELDS, table
from coderunner.facades.running import Handler
from coderunner.fleet.registry import Caller
from coderunner.jobs.about import Plan
from coderunner.jobs.job import Job
from coderunner.jobs.work import Work
from coderunner.schema.api import MAX_BODY
from coderunner.web.api.cors import across_origins
from coderunner.web.api.runs import BODIES
from coderunner.web.keys import PARTS, Parts
from coderunner.web.replies import status_of

UNCONVERTIBLE = (
    "some attributes for this submission cannot be converted to UTF-8,"
    " use base64_encoded=true query parameter"
)
# Of 20 submissions; each alone is checked against its own bounds.
MAX_BATCH_BODY = 8 * 1024 * 1024


class Refused(BadMessage):
    """A request that Judge0 refuses, with Judge0's message."""


def in_its_words(handler: Handler) -> Handler:
    """Decorates a handler: errors are answered in Judge0's form."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Unauthenticated:
            # Judge0 answers without a body.
            return web.Response(status=401)
        except submissions.Wrong as wrong:
            return web.json_response(wrong.problems, status=422)
        except judge0_shown.Unconvertible:
            return web.json_response({"error": UNCONVERTIBLE}, status=400)
        except NoRun:
            return web.Response(status=404)
        except CodeRunnerError as error:
            full = isinstance(error, CapacityError)
            document = {"error": "queue is full" if full else error.message}
            status = 503 if full else status_of(error)
            return web.json_response(document, status=status, headers=running.retry_headers(error))

    return across_origins(wrapped)


async def _caller(request: web.Request) -> Caller:
    return await running.caller_of(request, "X-Auth-Token")


def _fields(request: web.Request) -> tuple[str, ...]:
    """The attributes that the query requests. Raises Refused."""
    names = [name.strip() for name in request.query.get("fields", "").split(",") if name.strip()]
    wrong = [name for name in names if name != "*" and name not in FIELDS]
    if wrong:
        raise Refused(f"invalid fields: [{', '.join(wrong)[:1000]}]")
    return FIELDS if "*" in names else tuple(dict.fromkeys(names)) or DEFAULT_FIELDS


def _encoded(request: web.Request) -> bool:
    return request.query.get("base64_encoded") == "true"


# --- submissions --------------------------------------------------------------------------------------------


@in_its_words
async def create(request: web.Request) -> web.StreamResponse:
    """Begins a submission. Returns its token, or with `wait` its result."""
    caller, fields, encoded = await _caller(request), _fields(request), _encoded(request)
    body = await _body(request, caller, MAX_BODY)
    job = await _begin(request, body, caller, encoded=encoded)
    if request.query.get("wait") != "true":
        return await running.reply(request, {"token": job.id}, 201)
    await _finished(request, job)
    try:
        told = await _shown(request.app[PARTS], job, fields, encoded=encoded)
        return await running.reply(request, told, 201)
    except judge0_shown.Unconvertible:
        return web.json_response({"error": UNCONVERTIBLE, "token": job.id}, status=201)


@in_its_words
async def create_batch(request: web.Request) -> web.StreamResponse:
    """Begins up to 20 submissions."""
    caller, encoded = await _caller(request), _encoded(request)
    body = await _body(request, caller, MAX_BATCH_BODY)
    wanted = body.get("submissions")
    wanted = wanted if isinstance(wanted, list) else []
    _check_size(len(wanted))
    told: list[dict[str, Any]] = []
    for one in wanted:
        try:
            begun = await _begin(request, one if isinstance(one, dict) else {}, caller, encoded=encoded)
            told.append({"token": begun.id})
        except submissions.Wrong as wrong:
            told.append(dict(wrong.problems))
        except CapacityError:
            # As in Judge0: a batch of which a part was begun is answered row by row.
            if not any("token" in row for row in told):
                raise
            told.append({"error": ["queue is full"]})
    good = any("token" in row for row in told)
    return await running.reply(request, told, 201 if good else 422)


def _check_size(count: int) -> None:
    most = table().limits.max_submission_batch_size
    if count > most:
        raise Refused(f"number of submissions in a batch should be less than or equal to {most}")
    if not count:
        raise Refused("there should be at least one submission in a batch")


async def _body(request: web.Request, caller: Caller, maximum: int) -> dict[str, Any]:
    if request.content_type == "application/x-www-form-urlencoded":
        data = await request.app[BODIES].read_bytes(request, caller.address, maximum)
        try:
            return dict(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=64))
        except ValueError:
            raise Refused("a submission has at most 64 attributes") from None
    # Other types, such as a form's, need no CORS preflight: any site could send them from a visitor's
    # browser.
    if request.content_type != "application/json" and "Origin" in request.headers:
        raise Refused("send the submission as application/json")
    body = await request.app[BODIES].read_any(request, caller.address, maximum, codec.MAX_VALUES)
    return body if isinstance(body, dict) else {}


async def _begin(request: web.Request, given: Mapping[str, Any], caller: Caller, *, encoded: bool) -> Job:
    parts, callbacks = request.app[PARTS], request.app[CALLBACKS]
    # In a thread: a zip, and base64 of some megabytes, would block the event loop.
    order = await asyncio.to_thread(
        submissions.order_of, given, parts, encoded=encoded, callbacks=callbacks.allowed
    )
    if order.callback:
        wrong = callbacks.problem(order.callback)
        if wrong:
            raise submissions.Wrong({"callback_url": [wrong]})
    # Clients store it as a UUID. 122 random bits (RFC 9562): it grants access to an anonymous submission.
    token = str(uuid.uuid4())
    plan = Plan(
        id=token,
        walls=order.walls,
        scripts=order.scripts,
        again=repeats.count_of(order.note) - 1,
        note=msgspec.json.encode(order.note),
        callback=order.callback,
        patient=True,
    )
    if parts.runs.waiting(caller) >= table().limits.max_queue_size:
        raise RateLimited("queue is full", retry_after_ms=5000)
    # With the token as idempotency key, the run outlives the request that began it.
    return running.begin(request, order.run, caller, plan, token)


async def _finished(request: web.Request, job: Job) -> None:
    """Waits until a submission is over, with all of its runs. Raises CodeRunnerError without an answer."""
    note = judge0_shown.note_of(await running.note(job)) if job.about.plan.again else None
    last = job
    while True:
        try:
            await running.finished(request, last)
        except CodeRunnerError:
            # The failure of a patient run is kept as an answer: the submission has the status 13.
            if not last.patient or last.error is None:
                raise
        if note is None or (now := (await repeats.runs_of(request.app[PARTS], job, note))[-1]) is last:
            return
        last = now


async def _shown(parts: Parts, job: Job, fields: tuple[str, ...], *, encoded: bool) -> dict[str, Any]:
    note = judge0_shown.note_of(await running.note(job))
    jobs = await repeats.runs_of(parts, job, note)
    last = jobs[-1]
    status = 1 if job.status == "queued" else 3 if last.done else 2
    facts, more = Facts(job.id, status, job.about.created, last.ended_at), {}
    if last.error is not None:
        # 13: Internal Error, as the fault is not the program's.
        facts = Facts(job.id, 13, job.about.created, last.ended_at, None, last.error.message)
    elif last.done:
        results = [await running.result_of(one) for one in jobs]
        facts = Facts(job.id, status, job.about.created, last.ended_at, results[-1])
        more = repeats.averaged(results) if len(jobs) > 1 else {}
    told = await asyncio.to_thread(judge0_shown.shown, facts, note, fields, encoded=encoded)
    return told | {name: value for name, value in more.items() if name in told}


def ended(parts: Parts, callbacks: Callbacks, again: Repeats, work: Work) -> None:
    """Called when any run or batch (`work`) has ended. If it belongs to a submission: begins the submission's
    next run, or sends the result to its callback URL."""
    if not isinstance(work, Job) or not (work.about.plan.callback or work.about.plan.again):
        return
    caller = Caller(work.about.address, work.about.principal)
    with contextlib.suppress(NoRun):  # removed meanwhile
        head = parts.runs.find(repeats.token_of(work), caller, Job) if work.about.plan.again else work
        again.go_on(functools.partial(_go_on, parts, callbacks, head))


async def _go_on(parts: Parts, callbacks: Callbacks, head: Job) -> None:
    note = judge0_shown.note_of(await running.note(head))
    if (await repeats.runs_of(parts, head, note))[-1].over and head.about.plan.callback:
        tell = functools.partial(_shown, parts, head, DEFAULT_FIELDS, encoded=True)
        callbacks.tell(head.about.plan.callback, tell)


@in_its_words
async def show(request: web.Request) -> web.StreamResponse:
    """Returns a submission."""
    caller, fields, encoded = await _caller(request), _fields(request), _encoded(request)
    job = request.app[PARTS].runs.find(request.match_info["token"], caller, Job)
    return await running.reply(request, await _shown(request.app[PARTS], job, fields, encoded=encoded))


@in_its_words
async def show_batch(request: web.Request) -> web.StreamResponse:
    """Returns the submissions with the given tokens."""
    caller, fields, encoded = await _caller(request), _fields(request), _encoded(request)
    # As in Judge0, whose clients send many tokens in a header, as a URL would be too long.
    listed = request.headers.get("tokens") or request.query.get("tokens", "")
    tokens = [one.strip() for one in listed.split(",") if one.strip()]
    _check_size(len(tokens))
    told: list[dict[str, Any] | None] = []
    for token in tokens:
        try:
            job = request.app[PARTS].runs.find(token, caller, Job)
            told.append(await _shown(request.app[PARTS], job, fields, encoded=encoded))
        except NoRun:
            told.append(None)
    return await running.reply(request, {"submissions": told})


@in_its_words
async def remove(request: web.Request) -> web.StreamResponse:
    """Deletes a submission that has ended, for a caller with a key."""
    caller, fields = await _caller(request), _fields(request)
    if caller.principal is None:
        return web.Response(status=403)
    parts = request.app[PARTS]
    job = parts.runs.find(request.match_info["token"], caller, Job)
    told = await _shown(parts, job, fields, encoded=True)
    jobs = await repeats.runs_of(parts, job, judge0_shown.note_of(await running.note(job)))
    if not jobs[-1].over:
        number = 2 if job.begun else 1
        raise Refused(f"submission cannot be deleted because its status is {number} ({STATUSES[number]})")
    for one in jobs:
        parts.runs.forget(one)
    return await running.reply(request, told)


@in_its_words
async def index(request: web.Request) -> web.StreamResponse:
    """Lists the caller's own submissions, the newest first, in pages. 403 without a key, as from a Judge0
    without an authorization token."""
    caller, fields, encoded = await _caller(request), _fields(request), _encoded(request)
    if caller.principal is None:
        return web.Response(status=403)
    most = table().limits.max_submission_batch_size
    page, size = number_of(request, "page", 1), min(number_of(request, "per_page", most), most)
    runs = request.app[PARTS].runs
    # `patient`: only runs of this interface are.
    mine = [job for job in runs.of(caller, Job) if job.patient and repeats.first(job)]
    shown = mine[(page - 1) * size : page * size]
    try:
        rows = [await _shown(request.app[PARTS], job, fields, encoded=encoded) for job in shown]
    except NoRun:  # one was removed meanwhile
        raise Refused("the list has changed, ask again") from None
    pages = max(1, -(-len(mine) // size))
    told = {
        "current_page": page,
        "next_page": page + 1 if page < pages else None,
        "prev_page": page - 1 if page > 1 else None,
        "total_pages": pages,
        "total_count": len(mine),
    }
    return await running.reply(request, {"submissions": rows, "meta": told})


def number_of(request: web.Request, name: str, default: int) -> int:
    """A positive integer of the query. Raises Refused."""
    text = request.query.get(name, str(default))
    # Leading zeros are limited as well: int() raises ValueError beyond 4,300 digits.
    if not re.fullmatch("0{0,9}[1-9][0-9]{0,8}", text):
        raise Refused(f"invalid {name}: {text[:20]}")
    return int(text)


# --- facts --------------------------------------------------------------------------------------------------


@in_its_words
async def languages(request: web.Request) -> web.StreamResponse:
    """Lists the languages."""
    await _caller(request)
    found = submissions.languages_of(request.app[PARTS]).values()
    return await running.reply(request, [{"id": one.id, "name": one.name} for one in found])


@in_its_words
async def languages_all(request: web.Request) -> web.StreamResponse:
    """Lists the languages, none of which is archived."""
    await _caller(request)
    found = sorted(submissions.languages_of(request.app[PARTS]).values(), key=lambda one: one.name)
    rows = [{"id": one.id, "name": one.name, "is_archived": False} for one in found]
    return await running.reply(request, rows)


@in_its_words
async def language(request: web.Request) -> web.StreamResponse:
    """Returns a language."""
    await _caller(request)
    parts, number = request.app[PARTS], request.match_info["id"]
    # Bounded, as int() of a very long text takes long.
    known = submissions.languages_of(parts).get(int(number)) if len(number) < 9 else None
    if known is None:
        return web.Response(status=404)
    declared = None if known.project else parts.catalog.language(known.runs)
    document = {
        "id": known.id,
        "name": known.name,
        "is_archived": False,
        "source_file": declared and declared.entry,
        "compile_cmd": " ".join(declared.compile) if declared and declared.compile else None,
        "run_cmd": declared and " ".join(declared.run),
    }
    return await running.reply(request, document)


@in_its_words
async def statuses(request: web.Request) -> web.StreamResponse:
    """Lists the statuses."""
    await _caller(request)
    rows = [{"id": number, "description": words} for number, words in STATUSES.items()]
    return await running.reply(request, rows)


@in_its_words
async def about(request: web.Request) -> web.StreamResponse:
    """Returns the version of the interface."""
    await _caller(request)
    told = table()
    document = {
        "version": told.version,
        "homepage": told.homepage,
        "source_code": told.source_code,
        "maintainer": "CodeRunner",
    }
    return await running.reply(request, document)


@in_its_words
async def version(request: web.Request) -> web.StreamResponse:
    """Returns the version of the interface as text."""
    await _caller(request)
    return web.Response(text=table().version)


@in_its_words
async def config_info(request: web.Request) -> web.StreamResponse:
    """Lists the limits and what is allowed."""
    await _caller(request)
    limits = msgspec.to_builtins(table().limits)
    document = {
        **limits,
        "maintenance_mode": False,
        "enable_wait_result": True,
        "enable_compiler_options": True,
        "allowed_languages_for_compile_options": ["C", "C++"],
        "enable_command_line_arguments": True,
        "enable_submission_delete": True,
        "enable_callbacks": request.app[CALLBACKS].allowed,
        "enable_additional_files": True,
        "enable_per_process_and_thread_time_limit": False,
        "allow_enable_per_process_and_thread_time_limit": False,
        "enable_per_process_and_thread_memory_limit": False,
        "allow_enable_per_process_and_thread_memory_limit": False,
        "number_of_runs": 1,
        "redirect_stderr_to_stdout": False,
        "enable_batched_submissions": True,
        "submission_cache_duration": 0.0,
        "use_docs_as_homepage": False,
        "allow_enable_network": False,
        "enable_network": False,
        "disable_implicit_base64_encoding": True,
    }
    return await running.reply(request, document)


@in_its_words
async def system_info(request: web.Request) -> web.StreamResponse:
    """Returns an empty object, so that callers learn nothing about the machine."""
    await _caller(request)
    return await running.reply(request, {})


@in_its_words
async def workers(request: web.Request) -> web.StreamResponse:
    """Returns the numbers of slots and of waiting sessions."""
    await _caller(request)
    parts = request.app[PARTS]
    queue = parts.registry.queue.stats()
    slots = queue.slots
    row = {
        "queue": "default",
        "size": queue.queued,
        "available": slots,
        "idle": slots - queue.active,
        "working": queue.active,
        "paused": 0,
        "failed": 0,
    }
    return await running.reply(request, [row])


@in_its_words
async def authenticate(request: web.Request) -> web.StreamResponse:
    """200 if the key is valid; otherwise `_caller` has refused it."""
    await _caller(request)
    return web.Response()


@in_its_words
async def authorize(request: web.Request) -> web.StreamResponse:
    """Returns 403: there is no counterpart of Judge0's administrator."""
    await _caller(request)
    return web.Response(status=403)
