"""The command line. The only module that reads the process environment."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import coderunner
from coderunner import (
    app,
    bars,
    config,
    declarations,
    here,
    logs,
    places,
    prepare,
    stopping,
    takeover,
    tracing,
    turns,
)
from coderunner.commands import Run, make_parser
from coderunner.config import Settings
from coderunner.config.envfile import nearest
from coderunner.core.steps import OUTPUT, is_detail, step_of
from coderunner.engine import room, sizes
from coderunner.engine.docker import DockerEngine
from coderunner.engine.sockets import AgentSockets
from coderunner.errors import CannotStart, CodeRunnerError, ConfigError, EngineTimeout, UnsupportedEngine
from coderunner.fleet.groups import end_networks, reap_networks
from coderunner.fleet.lost import remove_lost
from coderunner.fleet.provision import Identity
from coderunner.fleet.sweep import anothers, end_all, labels_of, reap, session_of
from coderunner.instance import holder_of, key_of, lives
from coderunner.schema.forms import UNIX
from coderunner.sessions.record import owner_of
from coderunner.sign import holders, lives_elsewhere

if TYPE_CHECKING:
    from coderunner.client.kept import Kept, Store
    from coderunner.engine.images import ImageBuilder

log = logging.getLogger(__name__)

REAP_NETWORK_SECONDS = 600.0  # age; to a younger network without members, a server may be adding some


# Exit codes. The unit in deploy/ restarts the server after all but WRONG_SETTINGS and BROKEN_BOUND: with
# these the next start would fail in the same way.
FAILED, WRONG_SETTINGS, BROKEN_BOUND, TRY_AGAIN = 1, 2, 3, os.EX_TEMPFAIL


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command, and returns the exit code. `argv`: the arguments without the program's name;
    None: sys.argv."""
    words = list(sys.argv[1:] if argv is None else argv)
    behind: list[str] = []
    if "run" in words and "--" in words[words.index("run") :]:  # argparse would take these for files
        end = words.index("--", words.index("run"))
        words, behind = words[:end], words[end + 1 :]
    arguments = make_parser(COMMANDS).parse_args(words)
    if behind:
        arguments.args = behind
    try:
        result: int = arguments.run(arguments)
        if sys.stdout is not None:  # there is none where it was closed before
            sys.stdout.flush()
        return result
    except ConfigError as error:
        _say("coderunner: the settings are wrong:", *(f"  {problem}" for problem in error.problems))
        return WRONG_SETTINGS
    except CodeRunnerError as error:
        late = isinstance(error, EngineTimeout)
        _say(f"coderunner: {error.message}{'; see `journalctl -u docker`' if late else ''}")
        return _code_of(error)
    except KeyboardInterrupt:
        return stopping.INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has ended. Python flushes standard output at exit,
        # which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _code_of(error: CodeRunnerError) -> int:
    if isinstance(error, UnsupportedEngine):
        return BROKEN_BOUND
    return TRY_AGAIN if isinstance(error, CannotStart) else FAILED


def _say(*lines: str) -> None:
    """Prints error messages on standard error; for the journal with the priority of an error."""
    in_journal = logs.is_journal(sys.stderr, os.environ.get("JOURNAL_STREAM", ""))
    before = f"<{logs.priority(logging.ERROR)}>" if in_journal else ""
    for line in "\n".join(lines).splitlines():
        print(before + line, file=sys.stderr)


def _load(arguments: argparse.Namespace) -> Settings:
    """Reads the settings. The file of --env-file must exist, the default one need not. Raises ConfigError."""
    file = _env_file(arguments)
    text = config.read(file) if file is not None else None
    return config.load(os.environ, text, file=str(file or config.ENV_FILE), languages=declarations.names())


def _env_file(arguments: argparse.Namespace) -> Path | None:
    usual = Path(config.ENV_FILE)
    # `lexists`: a dangling link must be reported, and not treated as if there were no file.
    return arguments.env_file or (usual if os.path.lexists(usual) else None)


def _named(arguments: argparse.Namespace) -> list[str]:
    """The languages named on the command line. Raises CodeRunnerError for an unknown one."""
    known = declarations.names()
    for name in arguments.names:
        if name not in known:
            near = nearest(name, known, 0.5)
            hint = f"did you mean {near}?" if near else f"the languages are {', '.join(known)}"
            raise CodeRunnerError(f"there is no language {name}; {hint}")
    return list(arguments.names)


def _serve(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    listens: Callable[[], None] | None = None
    if arguments.background and (listens := takeover.in_background()) is None:
        return 0
    handler = logs.setup(
        settings.log_level,
        settings.log_format,  # type: ignore[arg-type]
        journal_stream=os.environ.get("JOURNAL_STREAM", ""),
    )
    logs.take_all()
    # None in the background, where the terminal is somebody else's by then.
    drawn = listens is None and settings.log_format != "json"
    lines = bars.made(sys.stderr, os.environ) if drawn else None
    if arguments.verbose:
        prepare.log.setLevel(logging.DEBUG)
    elif lines is not None and not prepare.log.isEnabledFor(logging.DEBUG):
        handler.setStream(lines)  # so that both do not write into each other
        handler.addFilter(bars.Without(prepare.log.name))
    else:
        lines = None
    tracing.begin_tracing(os.environ, settings.instance_name, coderunner.__version__)

    def announce(url: str) -> None:
        if not settings.production:
            by = "Ctrl-C" if listens is None else f"kill -INT {os.getpid()}"
            print(f"\n  CodeRunner is at {url}\n  Stop it with {by}.\n", flush=True)
        if listens is not None:
            listens()  # last: then the shell has its prompt again

    try:
        with asyncio.Runner(loop_factory=turns.Loop) as runner:
            how = runner.run(app.serve(settings, announce, lines, replace=arguments.replace))
    except CodeRunnerError as error:
        if settings.log_format != "json":
            raise
        # A line as all others are, for programs that read the log.
        log.critical("cannot serve: %s", error.message)
        return WRONG_SETTINGS if isinstance(error, ConfigError) else _code_of(error)
    except Exception:
        log.critical("the server failed", exc_info=True)
        return FAILED
    if how == stopping.RELOAD:
        # Without that option it stays the same process.
        words = [word for word in sys.argv[1:] if word != "--background"]
        os.execv(sys.executable, [sys.executable, "-m", "coderunner", *words])
    if how == stopping.SUSPEND:
        # Clients wait for the next server, and the interpreter's finalisation takes 0.3 s.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
    return {stopping.REFUSED: BROKEN_BOUND, stopping.ANOTHERS: TRY_AGAIN}.get(how, 0)


def _settings(arguments: argparse.Namespace) -> int:
    if arguments.check:
        settings = _load(arguments)
        problems = asyncio.run(here.problems(settings))
        if problems:
            raise ConfigError(problems)
        print("The settings are valid.")
        print(_checked(settings, _env_file(arguments)))
    else:
        print(config.example_text() if arguments.example else config.settings_table(), end="")
    return 0


def _checked(settings: Settings, file: Path | None) -> str:
    """A summary of where the settings come from and the most important ones, to recognise a wrong file."""
    host = settings.host
    set_there = [one.name for one in config.SETTINGS if os.environ.get(one.name, "").strip()]
    rows = {
        "file": str(file.absolute()) if file else f"none ({Path(config.ENV_FILE).absolute()} does not exist)",
        "environment": ", ".join(set_there) or "nothing",
        "mode": settings.app_env,
        "instance": settings.instance_name,
        "state": str(Path(settings.state_dir).absolute()),
        "address": host if host.startswith(UNIX) else f"{host} port {settings.port}",
        "languages": ", ".join(settings.languages) or f"all {len(declarations.names())}",
    }
    return "\n".join(f"  {name:<12} {value}" for name, value in rows.items())


def _images(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    declared = declarations.load(only=_named(arguments) or settings.languages)
    builder = _builder(settings, declared.folder, output=arguments.verbose)
    drawn = arguments.action == "build" and not arguments.verbose
    lines = bars.made(sys.stderr, os.environ) if drawn else None
    state = bars.Look(0, len(declared.demand))

    def say(line: str) -> None:
        nonlocal state
        if arguments.verbose or not is_detail(line):
            tell(f"  {line}")
        if state.builds and not line.startswith(OUTPUT):
            now = replace(state.builds[0], step=str(step_of(line) or line))
            state = replace(state, builds=(now,))

    def tell(line: str) -> None:
        if lines is not None and sys.stdout.isatty():
            lines.write(line + "\n")  # above what is drawn on the same terminal
        else:
            print(line, flush=True)

    async def work() -> None:
        nonlocal state
        if arguments.action in ("save", "load"):
            await _carry(arguments, builder, declared.demand, say)
            return
        if arguments.action == "prune":
            await _prune(arguments, settings, builder, declared.languages)
            return
        if arguments.action == "build":
            state_dir, name = Path(settings.state_dir), settings.instance_name
            # A running server records the images it uses itself;
            # it may be of another release, with other images.
            if not lives(state_dir, name):
                offered = declarations.load(only=settings.languages).languages
                await builder.note_use(holder_of(state_dir, name), name, offered)
            plan = await builder.plan(declared.demand)
            if plan.short:
                raise CodeRunnerError(plan.sentence(choice=not arguments.names))
            if plan.missing:
                print(plan.sentence(), flush=True)
        async with bars.shown(lines, lambda: state):
            for number, name in enumerate(declared.demand):
                if arguments.action == "list":
                    built = await builder.built(name)
                    print(f"{builder.reference(name)}  {f'present, built {built}' if built else 'not built'}")
                else:
                    build = bars.Build(declared.languages[name].title, "", time.monotonic())
                    state = replace(state, ready=number, builds=(build,))
                    tell(await builder.ensure(name, say))
        if arguments.action == "renew":
            renewed = await builder.renew(declared.languages, say)
            print(f"renewed: {', '.join(renewed) or 'nothing'}")

    asyncio.run(work())
    return 0


def _files(arguments: argparse.Namespace) -> int:
    found = places.files()
    if not arguments.name:
        for name, path in found.items():
            print(f"{name:<32}  {path}")
    elif arguments.name in found:
        sys.stdout.write(found[arguments.name].read_text("utf-8"))
    else:
        raise CodeRunnerError(f"there is no file {arguments.name}; the files are {', '.join(found)}")
    return 0


def _engine_proxy(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    logs.setup(settings.log_level, settings.log_format)  # type: ignore[arg-type]
    from coderunner.gate import run as gate

    asyncio.run(gate.run(settings, arguments.socket))
    return 0


def _upgrade_check(arguments: argparse.Namespace) -> int:
    from coderunner import upgrade

    fine, lines = asyncio.run(upgrade.check(_load(arguments)))
    print("\n".join(lines))
    return 0 if fine else FAILED


def _doctor(arguments: argparse.Namespace) -> int:
    from coderunner.doctor import run as doctor
    from coderunner.doctor.findings import Finding

    async def work() -> list[Finding]:
        try:
            settings = _load(arguments)
        except ConfigError as error:
            return doctor.settings_findings(doctor.problems_of(error))
        found = doctor.settings_findings(await here.problems(settings))
        return found + await doctor.examine(
            settings, _server(arguments, own=True), arguments.url, arguments.idle, arguments.bearer
        )

    text, code = doctor.shown(asyncio.run(work()), json=arguments.json)
    print(text)
    return code


async def _carry(
    arguments: argparse.Namespace, builder: ImageBuilder, names: list[str], say: Callable[[str], None]
) -> None:
    """`images save` and `images load`, for machines without a network. Raises CodeRunnerError."""
    from coderunner.engine.carry import CannotCarry

    if arguments.file is None:
        raise CodeRunnerError(f"images {arguments.action} needs an archive; add --file images.tar.gz")
    try:
        if arguments.action == "save":
            size = await builder.save(names, arguments.file, say)
            print(f"{arguments.file}: {len(names)} languages, {round(size / 1e6):,} MB")
            return
        loaded = set(await builder.load(arguments.file, say))
    except CannotCarry as error:
        raise CodeRunnerError(str(error)) from None
    present = await builder.present(names)
    ours = {builder.reference(name): name for name in names}
    print(f"usable: {', '.join(sorted(present)) or 'none'}")
    for reference in sorted(loaded - {reference for reference, name in ours.items() if name in present}):
        other = ours.get(reference)
        base = builder.base().reference
        print(
            f"{reference}: not usable, as it was built on another base image than this machine's; run"
            f" `docker rmi {base}`, then load again"
            if other
            else f"{reference}: not usable: it was made by another version or for other user ids"
            " (SESSION_UID_BASE, SESSION_UID_COUNT), or is of a language that was not asked for"
        )


async def _prune(
    arguments: argparse.Namespace, settings: Settings, builder: ImageBuilder, names: Iterable[str]
) -> None:
    """`images prune`: removes images that neither this version nor another server uses."""
    state_dir, name = Path(settings.state_dir), settings.instance_name
    own = holder_of(state_dir, name)
    # The notes of holders in `besides` do not protect images.
    # The own note is one of them unless the server runs.
    besides = [] if lives(state_dir, name) else [own]
    if arguments.every_instance:
        besides = await builder.holders()
    for tag in await builder.prune(names, besides=besides):
        print(f"removed {tag}")
    for holder in await builder.holders():
        if arguments.every_instance:
            await builder.forget_use(holder)
        elif holder != own:
            print(
                f"kept the images that {holder} uses; if that server no longer exists, run"
                " `coderunner images prune --every-instance`"
            )


def _builder(settings: Settings, folder: Path, *, output: bool = False) -> ImageBuilder:
    from coderunner.engine.images import ImageBuilder  # here, as the import would delay `serve`

    uids = range(settings.session_uid_base, settings.session_uid_base + settings.session_uid_count)
    return ImageBuilder(settings.docker_host, folder, uids, output=output)


def _reap(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    logs.setup(settings.log_level, settings.log_format)  # type: ignore[arg-type]
    name = settings.instance_name

    async def work() -> None:
        async with DockerEngine.connect(settings.docker_host, settings.docker_cmd_timeout / 1000) as engine:
            lost = 0
            if arguments.all:
                await _end_all(engine, settings)
                return
            if arguments.lost_key:
                key = key_of(Path(settings.state_dir), name)
                held = holders(name, Path(settings.state_dir))
                lost = await remove_lost(engine, name, key, held.alive, held.strangers)
            over = await reap(engine, instance=None if arguments.every_instance else name, now=time.time())
            networks = await reap_networks(engine, name, older_than=REAP_NETWORK_SECONDS, now=time.time())
            print(f"{name}: {over + lost} containers removed, {networks} networks removed")

    asyncio.run(work())
    return 0


async def _end_all(engine: DockerEngine, settings: Settings) -> None:
    """`reap --all`: removes all containers and networks of a stopped server.
    Raises CannotStart, CodeRunnerError."""
    state_dir, name = Path(settings.state_dir), settings.instance_name
    key = key_of(state_dir, name)
    if lives(state_dir, name) or (key is not None and await lives_elsewhere(name, key, state_dir)):
        raise CannotStart(f"the server {name!r} is running; stop it first")
    identity = Identity(
        instance=name,
        owner=owner_of(key) if key is not None else "",
        prefix=settings.network_prefix,
        runtime=None,
        lifetime_ms=0,
        create_seconds=settings.docker_timeout / 1000,
    )
    containers = await end_all(engine, identity)
    declared = declarations.load(only=settings.languages)
    builder = _builder(settings, declared.folder)
    ready = await builder.present(declared.languages)
    image = next((builder.reference(language) for language in sorted(ready)), None)
    networks = await end_networks(engine, identity, image)
    await builder.forget_use(holder_of(state_dir, name))
    # Containers that are left, as the engine refused to remove them, still have their folders mounted.
    left = {session_of(one) for one in await engine.list(labels_of(name))}
    AgentSockets(state_dir / "sockets", name, settings.agent_stream).clear(left)
    print(f"{name}: {containers} containers removed, {networks} networks removed")
    others = await anothers(engine, identity)
    if others:
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise CodeRunnerError(
            f"{len(others)} containers of {name!r} were made with another key than the one in {state_dir},"
            f" and were not removed ({shown}). If they belong to another server, run this command with its"
            " STATE_DIR; if their key is lost, run `coderunner reap --lost-key`"
        )


def _attack(arguments: argparse.Namespace) -> int:
    from coderunner.attack import run as attacks  # here, as the import would delay `serve`

    if _server(arguments).startswith(UNIX):
        raise CodeRunnerError("attacks need a network address; give the address of the proxy with --url")
    return attacks.main(_server(arguments), arguments.bearer, arguments.names, listing=arguments.list)


def _bench(arguments: argparse.Namespace) -> int:
    from coderunner.bench import run as bench  # here, as the import would delay `serve`

    return bench.main(
        _server(arguments), arguments.bearer, arguments.rounds, arguments.save, arguments.baseline
    )


def _db(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    from coderunner.store import command  # here, as the import would delay `serve`

    return command.db(settings, arguments.action)


def _keys(arguments: argparse.Namespace) -> int:
    from coderunner.identity import command  # here, as the import would delay `serve`

    return command.run(_load(arguments), arguments)


def _audit(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    from coderunner.store import command

    return command.run(settings, arguments)


def _remote(arguments: argparse.Namespace) -> int:
    from coderunner.client import remote  # here, as the import would delay `serve`
    from coderunner.client.kept import Store

    store = arguments.store = Store(os.environ)
    if arguments.command == "login" and arguments.forget:
        store.log_out()
        return 0
    arguments.kept = _kept(arguments, store)
    _choose(arguments, store if arguments.command != "login" else None)
    return remote.main(arguments, _server(arguments))


def _choose(arguments: argparse.Namespace, store: Store | None) -> None:
    """Sets the server and the key of a command; `store`: where `login` keeps its own, None to leave them out.
    Raises CodeRunnerError."""
    from coderunner.client.credential import chosen
    from coderunner.client.refused import printable

    try:
        login = store.login() if store else None
    except (OSError, ValueError) as error:
        raise CodeRunnerError(f"{store and store.login_file} cannot be used: {error}; log in again") from None
    arguments.url, arguments.bearer, warning = chosen(arguments.url, arguments.bearer, os.environ, login)
    if warning:
        print(f"coderunner: {printable(warning)}", file=sys.stderr)


def _kept(arguments: argparse.Namespace, store: Store) -> Kept | None:
    """The session that a command is for, whose server becomes the one to use. Raises CodeRunnerError."""
    from coderunner.client.kept import Kept

    if arguments.command == "cp":
        sides = [side for side in (arguments.source, arguments.target) if ":" in side]
        if len(sides) != 1:
            raise CodeRunnerError("one of the two is to be in a session, as SESSION:PATH")
        name, _, arguments.inner = sides[0].partition(":")
        arguments.up = sides[0] is arguments.target
    elif arguments.command in ("attach", "watch"):
        name = arguments.session
    else:
        return None
    if arguments.token:
        return Kept(name, arguments.token, arguments.url)
    kept = store.find(name)
    if kept is None:
        raise CodeRunnerError(f"there is no session {name} of this user, or more than one; give its whole id")
    arguments.url = arguments.url or kept.url
    return kept


def _completion(arguments: argparse.Namespace) -> int:
    import shtab  # here, as no other command needs it

    print(shtab.complete(make_parser(COMMANDS), shell=arguments.shell))
    return 0


def _mcp(arguments: argparse.Namespace) -> int:
    _, _, port = arguments.listen.rpartition(":")
    numbered = port.isascii() and port.isdigit() and int(port) < 65536
    if arguments.of_server and not arguments.listen.startswith(UNIX):
        raise CodeRunnerError("--of-server needs --listen unix:PATH")
    if arguments.listen and not (numbered or arguments.of_server):
        raise CodeRunnerError(f"--listen {arguments.listen} must be an address and a port: 127.0.0.1:3001")
    if arguments.listen and arguments.bearer:  # whoever reaches it would have what this key allows
        raise CodeRunnerError("with --listen each caller sends a credential of its own: leave --bearer out")
    try:
        from coderunner.mcp import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("coderunner"):
            raise
        raise CodeRunnerError(
            f"the library {error.name} is not installed: pip install 'coderunner[mcp]'"
        ) from None
    from coderunner.client.kept import Store

    _choose(arguments, Store(os.environ))
    if arguments.listen:  # callers bring their own
        arguments.bearer = ""
    return serve.main(arguments, _server(arguments))


def _operator(arguments: argparse.Namespace) -> int:
    from coderunner.client import operate  # here, as the import would delay `serve`
    from coderunner.client.kept import Store

    # Without an address they are for this machine's server, whatever `login` has chosen for programs.
    named = arguments.url or os.environ.get("CODERUNNER_URL")
    _choose(arguments, Store(os.environ) if named else None)
    if not arguments.url and not arguments.bearer:  # this machine's server, whose settings are here
        arguments.bearer = _load(arguments).admin_key or ""
    return operate.main(arguments, _server(arguments), arguments.bearer)


def _server(arguments: argparse.Namespace, *, own: bool = False) -> str:
    """The server's address: `unix:` and a path, or a URL that ends with a slash. From --url or, without it
    and if `own`, from the settings. Raises ConfigError."""
    if arguments.url and not own:
        return str(arguments.url)
    settings = _load(arguments)
    if settings.host.startswith(UNIX):
        return settings.host
    # A server that listens on all addresses is reached over loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/"


def _list_languages(arguments: argparse.Namespace) -> int:
    for language in declarations.load(only=_load(arguments).languages).languages.values():
        print(f"{language.name:<14}  {language.version:<20}  {language.title}")
    return 0


def _language_table(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    declared = declarations.load(only=settings.languages)
    histories = asyncio.run(_builder(settings, declared.folder).histories(declared.languages))
    print(sizes.markdown(declared.languages, histories), end="")
    return 0


def _language_sizes(arguments: argparse.Namespace) -> int:
    settings = _load(arguments)
    declared = declarations.load(only=settings.languages)
    histories = asyncio.run(_builder(settings, declared.folder).histories(declared.languages))
    print(room.learned(histories), end="")
    return 0


def _test_languages(arguments: argparse.Namespace) -> int:
    declared = declarations.load(only=_named(arguments))
    from coderunner.samples import run as samples

    return samples.main(_server(arguments), arguments.bearer, declared, arguments.names)


COMMANDS: dict[str, Run] = {
    "serve": _serve,
    "run": _remote,
    "shell": _remote,
    "attach": _remote,
    "watch": _remote,
    "cp": _remote,
    "batch": _remote,
    "login": _remote,
    "completion": _completion,
    "mcp": _mcp,
    **dict.fromkeys(("ps", "kill", "notice", "drain", "resume", "report", "loadtest"), _operator),
    "settings": _settings,
    "images": _images,
    "files": _files,
    "engine-proxy": _engine_proxy,
    "upgrade-check": _upgrade_check,
    "doctor": _doctor,
    "reap": _reap,
    "attack": _attack,
    "bench": _bench,
    "db": _db,
    "audit": _audit,
    "keys": _keys,
    "languages list": _list_languages,
    "languages table": _language_table,
    "languages sizes": _language_sizes,
    "languages test": _test_languages,
}
"""The commands' functions by name."""
