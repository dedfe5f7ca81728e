"""Models of the server's calls to an agent, and of the programs and companions that they start."""

from __future__ import annotations

from msgspec import Struct, to_builtins

from coderunner.schema.limits import Processors, Whole
from coderunner.schema.messages import Modes
from coderunner.schema.reports import Kinds


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """A language's service. `folder`: its working directory. `start_ms`: how long it may take to start.
    `ready`: a path that exists once the service can be used."""

    command: tuple[str, ...]
    env: dict[str, str]
    folder: str
    start_ms: int
    ready: str


class PreloadSpec(Struct, frozen=True, kw_only=True):
    """A language's preload: a process with its runtime loaded,
    from which programs are forked to start faster.

    `run`: the command whose execution the fork replaces. `entries`: patterns of the entry files that it can
    run. `fixed`: patterns of environment variables that the runtime reads only at its own start; a program
    with another value for one of them is executed instead of forked.
    """

    command: tuple[str, ...]
    env: dict[str, str]
    folder: str
    start_ms: int
    run: tuple[str, ...]
    entries: tuple[str, ...]
    fixed: tuple[str, ...]


class Companions(Struct, frozen=True, omit_defaults=True):
    """What an agent starts in a warm container, before it is given to a user."""

    service: ServiceSpec | None = None
    preload: PreloadSpec | None = None


class ProgramLimits(Struct, frozen=True):
    """The limits that the agent enforces itself: times in milliseconds, output in bytes, processors, and the
    memory in bytes, which may be less than the container's (compilers may have more)."""

    wall_ms: Whole
    cpu_ms: Whole
    output_bytes: Whole
    cpus: Processors
    memory_bytes: Whole


class ProgramVariant(Struct, frozen=True):
    """The commands to use if the file `when` exists in the workspace."""

    when: str
    compile: tuple[str, ...]
    run: tuple[str, ...]


class ProgramSpec(Struct, frozen=True, kw_only=True):
    """A program or a shell to start, with everything that its language declares.

    Commands contain placeholders: the agent expands them and chooses the variant, as both depend on the
    files in the workspace. `stdin`: a file of the workspace. `restored`: before the start, all processes are
    ended and the workspace is restored from the agent's snapshot.
    """

    kind: Kinds
    mode: Modes
    cols: int
    rows: int
    workspace: str
    build: str
    entry: str
    args: tuple[str, ...] = ()
    sources: tuple[str, ...]
    main: str
    extensions: tuple[str, ...]
    variants: tuple[ProgramVariant, ...] = ()
    compile: tuple[str, ...] = ()
    run: tuple[str, ...]
    stdin: str | None = None
    env: dict[str, str]
    limits: ProgramLimits
    restored: bool = False

    @property
    def first_phase(self) -> str:
        """The phase that the channel is assumed to begin with: `compiling` if any variant compiles.

        The agent, which chooses the variant, reports the true phase later.
        """
        # The agent's own report follows at once, so a wrong guess shows for a moment only.
        compiles = self.compile or any(variant.compile for variant in self.variants)
        return "compiling" if compiles else "running"


class Call(Struct, frozen=True, kw_only=True, tag_field="op", tag=str.lower):
    """A call. What each operation does, and what it answers, is written at the agent's method of its name."""

    @property
    def op(self) -> str:
        """The operation's name."""
        return str(self.__struct_config__.tag)

    def body(self) -> dict[str, object]:
        """The call as it is sent, as an object of JSON."""
        told: dict[str, object] = to_builtins(self)
        return told


class Seal(Call, frozen=True, kw_only=True):
    """`record`: sealed; None has the agent forget it."""

    record: str | None


class Quit(Call, frozen=True, kw_only=True):
    """Has the agent end, and all of its container with it. It has no answer: the stream ends."""


class Prepare(Call, frozen=True, kw_only=True):
    """`wait_for_preload`: whether the answer waits for the preload as well."""

    service: ServiceSpec | None = None
    preload: PreloadSpec | None = None
    wait_for_preload: bool = True


class Run(Call, frozen=True, kw_only=True):
    """`files`: path and size of each file, whose bytes follow in this order. `controlled`: a client has the
    control."""

    channel: int
    spec: ProgramSpec
    files: tuple[tuple[str, int], ...] = ()
    controlled: bool = True


class Resize(Call, frozen=True, kw_only=True):
    """`cols`, `rows`: the terminal's new size."""

    channel: int
    cols: int
    rows: int


class Repaint(Call, frozen=True, kw_only=True):
    """Has the program redraw its screen."""

    channel: int


class Signal(Call, frozen=True, kw_only=True):
    """`name`: as INT."""

    channel: int
    name: str


class Eof(Call, frozen=True, kw_only=True):
    """`offset`: where the input ends."""

    channel: int
    offset: int


class Kill(Call, frozen=True, kw_only=True):
    """`intent`: why, which is part of the evidence of its end."""

    channel: int
    intent: str


class Fetch(Call, frozen=True, kw_only=True):
    """`limit`: bytes."""

    channel: int
    offset: int
    limit: int


class Keep(Call, frozen=True, kw_only=True):
    """Saves the workspace for programs that are `restored`."""


class Files(Call, frozen=True, kw_only=True):
    """`files`: as in `Run`."""

    files: tuple[tuple[str, int], ...]


class Read(Call, frozen=True, kw_only=True):
    """`offset`, `limit`: bytes."""

    path: str
    offset: int
    limit: int


class Check(Call, frozen=True, kw_only=True):
    """`crc`: of the bytes before `offset`."""

    path: str
    offset: int
    limit: int
    crc: int


class List(Call, frozen=True, kw_only=True):
    """`after`: the path at which the page before ended. `limit`: entries."""

    after: str | None = None
    limit: int


class Put(Call, frozen=True, kw_only=True):
    """A piece of an upload. `upload`: its number. `offset`: of the piece. `last`: the file is complete."""

    upload: int
    path: str
    executable: bool
    offset: int
    last: bool


class Drop(Call, frozen=True, kw_only=True):
    """`upload`: of `Put`."""

    upload: int


class Rename(Call, frozen=True, kw_only=True):
    """`path`: the old name. `to`: the new one."""

    path: str
    to: str


class Remove(Call, frozen=True, kw_only=True):
    """`limit`: files and folders in one call."""

    path: str
    limit: int


class Folder(Call, frozen=True, kw_only=True):
    """`path`: of a folder to make, with its parents."""

    path: str
