"""Invalid messages: each is answered with its error code, and the session continues."""

from __future__ import annotations

from coderunner.attack.case import Case, Group
from coderunner.attack.programs import aftermath, describe
from coderunner.attack.stage import Stage
from coderunner.schema import messages as m

GROUP = Group("messages")
_RUN = '{"type":"run","channel":5,"mode":"pipe"'

# name, the text, what must be answered
_TEXTS: tuple[tuple[str, str, str], ...] = (
    ("json-broken", "{", "bad_json"),
    ("json-empty", "", "bad_json"),
    ("json-deep", "[" * 200_000, "bad_message"),
    ("json-deep-object", '{"type":"ping","t":' + '{"a":' * 100_000 + "1" + "}" * 100_001, "bad_message"),
    ("json-nan", '{"type":"ping","t":NaN}', "bad_json"),
    ("json-infinity", '{"type":"ping","t":-Infinity}', "bad_json"),
    ("json-number-too-large", '{"type":"ping","t":1e999}', "bad_json"),
    ("json-number-of-a-million-digits", '{"type":"ping","t":' + "9" * 1_000_000 + "}",
     "bad_json or bad_message"),
    # Half of a surrogate pair, which UTF-8 cannot encode.
    ("json-surrogate", '{"type":"\\ud800"}', "bad_json"),
    ("json-not-an-object", "[1,2,3]", "bad_json"),
    ("json-null", "null", "bad_json"),
    ("json-many-keys", "{" + ",".join(f'"k{n}":0' for n in range(150_000)) + "}", "bad_message"),
    ("json-white-space", " " * (3 << 19) + '{"type":"frobnicate"}', "unknown_type"),
    ("type-missing", "{}", "bad_message"),
    ("type-of-wrong-type", '{"type":["run"]}', "bad_message"),
    ("type-unknown", '{"type":"frobnicate"}', "unknown_type"),
    ("type-of-the-server", '{"type":"opened","session":"x","token":"y"}', "unknown_type"),
    ("type-huge", '{"type":"' + "x" * 1_000_000 + '"}', "unknown_type"),
    ("channel-negative", '{"type":"kill","channel":-1}', "bad_message"),
    ("channel-too-large", '{"type":"kill","channel":65536}', "bad_message"),
    ("channel-a-float", '{"type":"kill","channel":1.0}', "bad_message"),
    ("channel-a-boolean", '{"type":"kill","channel":true}', "bad_message"),
    ("channel-a-text", '{"type":"kill","channel":"1"}', "bad_message"),
    ("channel-of-nobody", '{"type":"kill","channel":77}', "no_channel"),
    ("mode-unknown", '{"type":"run","channel":5,"mode":"root"}', "bad_message"),
    ("signal-by-number", '{"type":"signal","channel":5,"name":"9"}', "bad_message"),
    ("signal-that-stops", '{"type":"signal","channel":5,"name":"STOP"}', "bad_message"),
    ("limit-unknown", _RUN + ',"limits":{"luck":1}}', "bad_limit"),
    ("limit-above-the-ceiling", _RUN + ',"limits":{"wall_ms":999999999999}}', "bad_limit"),
    ("limit-of-zero", _RUN + ',"limits":{"wall_ms":0}}', "bad_message"),
    ("limit-of-memory-in-a-run", _RUN + ',"limits":{"memory_bytes":536870912}}', "bad_limit"),
    ("environment-name-broken", _RUN + ',"env":{"A=B":"x"}}', "bad_message"),
    ("environment-with-nul", _RUN + ',"env":{"A":"x\\u0000y"}}', "bad_message"),
    ("environment-too-many", _RUN + ',"env":{' + ",".join(f'"E{n}":""' for n in range(300)) + "}}",
     "bad_message"),
    ("argument-with-nul", _RUN + ',"args":["x\\u0000y"]}', "bad_message"),
    ("arguments-too-many", _RUN + ',"args":[' + ",".join(['"x"'] * 2000) + "]}", "bad_message"),
    ("second-open", '{"type":"open","language":"python","client":"abcdefghijklmnopqrstuv"}', "bad_message"),
    ("base64-broken", _RUN + ',"files":[{"path":"x","content_base64":"A==="}]}', "bad_message"),
    ("content-twice", _RUN + ',"files":[{"path":"x","content":"","content_base64":""}]}', "bad_message"),
    ("shell-without-size", '{"type":"shell","channel":5}', "bad_message"),
    ("resize-of-text", '{"type":"resize","channel":5,"cols":"wide","rows":1}', "bad_message"),
    ("resize-of-float", '{"type":"resize","channel":5,"cols":80.5,"rows":1}', "bad_message"),
    ("ack-negative", '{"type":"ack","channel":5,"offset":-1}', "bad_message"),
    # 2**53 + 1, which JavaScript cannot represent (Number.MAX_SAFE_INTEGER is 2**53 - 1).
    ("ack-beyond-integers", '{"type":"ack","channel":5,"offset":9007199254740993}', "bad_message"),
    # A second spelling of channel 1.
    ("cursor-of-wrong-name", '{"type":"attach","session":"x","token":"y","client":"abcdefghijklmnopqrstuv",'
     '"cursors":{"01":0}}', "bad_message"),
)  # fmt: skip


def _add(name: str, text: str, expected: str) -> Case:
    async def script(stage: Stage) -> str:
        async with stage.session() as peer:
            await peer.send_raw(text)
            return await peer.error_code() + await aftermath(peer)

    return Case(name, GROUP.name, "the reader of messages", tuple(expected.split(" or ")), script)


GROUP.cases += [_add(*row) for row in _TEXTS]


@GROUP.case(
    "message-before-open", "a connection without a session", "unexpected_message unexpected_message pong"
)
async def _early(stage: Stage) -> str:
    async with stage.connect() as peer:
        await peer.send(m.Kill(1))
        first = await peer.error_code()
        await peer.input(1, b"x", offset=0)
        second = await peer.error_code()
        await peer.send(m.Ping(1))
        await peer.message(m.Pong)
        return f"{first} {second} pong"


@GROUP.case(
    "huge-arguments", "the start of a program, with more arguments than a kernel takes",
    "not run: bad_message (args and env have 1800000 bytes; send at most 1048576 together,"
    " and more as a file)",
)  # fmt: skip
async def _arguments(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.run(1, "print('ran')", args=("x" * 60_000,) * 30)
        return describe(await peer.ended(1)) + await aftermath(peer)


@GROUP.case(
    "options-as-entry",
    "the interpreter, by an entry that looks like an option",
    "exited 2",
    "exited 1",
    "exited 0",
)
async def _option(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.send(m.Run(1, "pipe", entry="-h"))
        stream = await peer.ended(1)
        return f"{stream.exit.reason} {stream.exit.code}" if stream.exit else "no end"


@GROUP.case("unknown-language", "the list of languages", "unknown_language unknown_language bad_message")
async def _language(stage: Stage) -> str:
    async with stage.connect() as peer:
        seen = []
        for name in ("klingon", "../python", "x" * 65):
            await peer.send(m.Open(name, peer.client))
            seen.append(await peer.error_code())
        return " ".join(seen)


@GROUP.case(
    "host-as-a-member",
    "what is no group, what is not offered (recording), the host's network",
    "bad_message unsupported bad_message",
)
async def _host(stage: Stage) -> str:
    async with stage.connect() as peer:
        seen = []
        for text in ('"network":"group","group":"g"', '"record":true', '"network":"host"'):
            await peer.send_raw(f'{{"type":"open","language":"python","client":"{peer.client}",{text}}}')
            seen.append(await peer.error_code())
        return " ".join(seen)
