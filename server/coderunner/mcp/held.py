"""A session that an agent has open: followed all the time, so that the agent also sees what a person does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from coderunner.mcp.backend import Backend, Refused
from coderunner.mcp.screen import Output, Screen

WAIT_SECONDS = 25  # of one request for events
AWAY_SECONDS = 120.0  # for which a server that is away is looked for
# Long enough for a program that computes between two lines, short enough for an agent that waits.
QUIET_SECONDS = 0.4  # without output, after which a program counts as waiting
LOOK_SECONDS = 0.05
CLIENT = "mcp"


@dataclass
class Program:
    """A channel: what it shows, and how far it is. `typed`: offset of the next byte of input."""

    screen: Screen | Output
    kind: str = "run"
    at: int = 0  # offset of the next byte of output
    typed: int = 0
    phase: str = ""
    exit: dict[str, Any] | None = None
    refused: str = ""
    diagnostics: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: float = 0.0  # when output came last, on the loop's clock

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.exit is not None or bool(self.refused)


class Held:
    """One session, by its name and token.

    `used`: when an agent asked for it last, on the loop's clock. `attached`: whether the server has it.
    """

    def __init__(self, backend: Backend, session: str, token: str) -> None:
        self.session, self.token = session, token
        self.role = "control"
        self.ended = ""  # why the session is over; "" while it lives
        self.attached = False
        self.used = asyncio.get_running_loop().time()
        self.programs: dict[int, Program] = {}
        self.changed = asyncio.Event()
        self._backend = backend
        self._last = ""
        self._due: dict[int, int] = {}  # the output that there was when it was attached, by channel
        self._known = asyncio.Event()  # all of that has come
        self._typing = asyncio.Lock()
        self._following = asyncio.create_task(self._follow(), name="mcp-follow")

    async def ask(self, method: str, path: str = "", **fields: Any) -> Any:
        """A request of this session. Raises Refused."""
        return await self._backend.ask(method, f"/api/sessions/{self.session}{path}", self.token, **fields)

    async def act(self, what: str, again: bool = True, **body: Any) -> dict[str, Any]:
        """A `POST`. Raises Refused."""
        told: dict[str, Any] = await self.ask(
            "POST", f"/{what}?client={CLIENT}", body=body or None, again=again
        )
        self.role = told["role"]
        return told

    # --- programs ----------------------------------------------------------------------------------------

    async def start(self, kind: str, cols: int, rows: int, tty: bool, **body: Any) -> int:
        """Starts a program (`run`) or a `shell`; returns its channel. Raises Refused."""
        number = max(self.programs, default=0) + 1
        program = self.programs[number] = Program(Screen(cols, rows) if tty else Output(), kind)
        size = {"cols": cols, "rows": rows} if tty else {}
        try:
            await self.act(kind, True, channel=number, **size, **body)
        except Refused:
            # With a phase it has begun, and only the answer was lost: the events will tell.
            if not program.phase:
                del self.programs[number]
            raise
        return number

    async def type(self, number: int, data: bytes) -> None:
        """Sends input. Bytes for which the program has no room yet are sent as it takes them. Raises
        Refused."""
        program = self.programs[number]
        async with self._typing:
            while data and not program.over:
                piece = data[:16384]
                encoded = base64.b64encode(piece).decode()
                try:
                    told = await self.act("input", channel=number, offset=program.typed, base64=encoded)
                except Refused as refused:
                    expected = refused.document.get("expected")
                    # The part that was taken must not be sent again; the rest is, once the program has read.
                    if refused.code == "input_overflow" and expected is not None:
                        taken = expected - program.typed
                        program.typed, data = expected, data[taken:]
                        await asyncio.sleep(QUIET_SECONDS)
                        continue
                    if refused.code == "input_gap" and expected is not None and expected < program.typed:
                        program.typed = expected  # somebody else typed meanwhile, or nobody did
                        continue
                    raise
                if told["input_offset"] >= program.typed + len(piece):
                    data = data[len(piece) :]
                program.typed = told["input_offset"]

    async def settled(self, number: int, seconds: float) -> None:
        """Waits until the program has ended, or has printed and then nothing for QUIET_SECONDS, at most
        `seconds`."""
        loop = asyncio.get_running_loop()
        program, begun = self.programs[number], loop.time()
        while not (program.over or self.ended) and (left := begun + seconds - loop.time()) > 0:
            quiet = loop.time() - program.changed
            if program.changed > begun and quiet >= QUIET_SECONDS and program.phase != "compiling":
                return
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, max(LOOK_SECONDS, QUIET_SECONDS - quiet))):
                    await self.changed.wait()

    async def known(self) -> None:
        """Waits until the programs are known that the session has, with what they have printed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AWAY_SECONDS):
                await self._known.wait()

    def leave(self) -> None:
        """Forgets the session, which goes on."""
        self._following.cancel()

    async def close(self) -> None:
        """Ends the session."""
        self.leave()
        if not self.ended:
            self.ended = "client"
            with contextlib.suppress(Refused):
                await self.ask("DELETE", again=False)

    # --- events ------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + AWAY_SECONDS
        while not self.ended:
            path = f"/events?client={CLIENT}&wait={WAIT_SECONDS}&after={self._last}"
            try:
                # Not repeated by `ask`: this loop does it, for longer.
                told = await self.ask("GET", path, again=False)
                for event in told["events"]:
                    self._take(event["data"])
                    self._last = event["id"]
                    await asyncio.sleep(0)  # output of a whole wait may take seconds: others have their turn
                if told["over"]:
                    self.ended = self.ended or "closed"
                due = loop.time() + AWAY_SECONDS
            except Refused as refused:
                # 0: no answer at all. A proxy has 502 to 504 for a server that restarts.
                later = refused.status in (0, 429, 502, 503, 504)
                if not later or loop.time() > due:
                    self.ended = self.ended or str(refused)
                else:
                    await asyncio.sleep(0.3)
            if self.ended or (self.attached and all(self._has(*one) for one in self._due.items())):
                self._known.set()
            self.changed.set()

    def _has(self, number: int, to: int) -> bool:
        return self.programs[number].at >= to

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "attached":
            self.role, self.attached = event["role"], True
            self._due = {one["channel"]: one["to"] for one in event["channels"]}
            for one in event["channels"]:
                program = self._program(one["channel"], one["mode"], one["cols"], one["rows"])
                program.phase, program.typed = one["phase"], one["input_offset"]
        elif kind == "role":
            self.role = event["role"]
            for number, offset in event["input_offsets"].items():
                self._program(int(number)).typed = offset
        elif kind == "closed":
            self.ended = event["reason"]
        elif event.get("channel") is not None:
            self._of_channel(kind, event, self._program(event["channel"]))

    def _of_channel(self, kind: str, event: dict[str, Any], program: Program) -> None:
        if kind == "output":
            data = event["text"].encode() if "text" in event else base64.b64decode(event["text_base64"])
            # After a lost answer the same events come again: what the screen has already is skipped.
            known = program.at - event["offset"]
            if 0 <= known < len(data):
                program.screen.feed(data[known:])
                program.at = event["offset"] + len(data)
                program.changed = asyncio.get_running_loop().time()
        elif kind == "gap":
            program.at = event["to"]
            program.screen.reset()
            # What the server knows of the terminal's state, such as the other screen, which the lost bytes
            # had set.
            program.screen.feed((event.get("restore") or "").encode())
        elif kind == "resized":
            program.screen.resize(event["cols"], event["rows"])
        elif kind == "state":
            program.phase = event["phase"]
        elif kind == "diagnostics":
            program.diagnostics = event["items"]
        elif kind == "artifact":
            program.artifacts[event["path"]] = event
        elif kind == "exit":
            program.exit = event
        elif kind == "error" and not program.phase:
            program.refused = event["message"]

    def _program(
        self, number: int, mode: str = "tty", cols: int | None = None, rows: int | None = None
    ) -> Program:
        """The program of a channel, which a person may have begun in the page."""
        if number not in self.programs:
            screen = Screen(cols or 80, rows or 24) if mode == "tty" else Output()
            self.programs[number] = Program(screen)
        return self.programs[number]

    # --- what the agent is told --------------------------------------------------------------------------

    def shown(self, number: int, above: int = 0) -> str:
        """The program's screen and state as text."""
        program = self.programs[number]
        lines = [program.screen.text(above), "---"]
        state = f"channel {number}: {program.phase or 'starting'}"
        if program.refused:
            state = f"channel {number}: not started: {program.refused}"
        elif program.exit is not None:
            end = program.exit
            how = f"exit code {end['code']}" if end["code"] is not None else f"signal {end['signal']}"
            state = f"channel {number}: ended, {how}, {end['reason']}"
        elif isinstance(program.screen, Screen):
            state += "; cursor at line {}, column {}".format(*program.screen.cursor)
        lines.append(state)
        # Few: an agent's context is limited, and the first errors explain the others.
        lines += [json.dumps(one) for one in program.diagnostics[:20]]
        lines += [
            f"made: {one['path']} ({one['mime']}, {one['size']} bytes)" for one in program.artifacts.values()
        ]
        if self.ended:
            lines.append(f"the session is over: {self.ended}")
        elif self.role != "control":
            lines.append("a person has the control; watch with `screen`, or take it back with `take`")
        return "\n".join(lines).lstrip("\n")
