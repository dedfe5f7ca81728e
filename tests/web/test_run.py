"""Running programs over the WebSocket: output, input, control and endings."""

from __future__ import annotations

import hashlib

import pytest

from coderunner.schema import messages as m
from tests.harness import session
from tests.share import some_now


class TestOutput:
    async def test_a_program_prints_and_exits(self, server):
        async with session(server) as client:
            channel = await client.result(1, 'print("hello")')
            assert channel.text == "hello\n"
            assert [state.phase for state in channel.states] == ["running", "exited"]
            assert (channel.exit.code, channel.exit.signal, channel.exit.reason) == (0, None, "exited")
            assert channel.exit.offset == 6
            assert channel.exit.usage.output_bytes == 6
            assert channel.exit.usage.cpu_ms > 0
            assert channel.exit.usage.memory_peak_bytes > 1_000_000

    async def test_every_byte_of_a_fast_megabyte_comes_before_the_exit(self, server):
        code = "import sys,random\nrandom.seed(7)\nd=random.randbytes(1<<20)\nsys.stdout.buffer.write(d)"
        async with session(server) as client:
            channel = await client.result(1, code)
            import random

            random.seed(7)
            assert hashlib.sha256(channel.data).digest() == hashlib.sha256(random.randbytes(1 << 20)).digest()

    async def test_stdout_and_stderr_are_told_apart_and_each_in_order(self, server):
        code = (
            "import os\nfor i in range(2000):\n    os.write(1, b'o%06d\\n' % i); os.write(2, b'e%06d\\n' % i)"
        )
        async with session(server) as client:
            channel = await client.result(1, code)
            assert channel.stderr == b"".join(b"e%06d\n" % i for i in range(2000))
            assert len(channel.data) == 2 * 8 * 2000

    async def test_a_character_split_over_two_writes_arrives_whole(self, server):
        code = "import os,time\nos.write(1,b'\\xf0\\x9f'); time.sleep(.5); os.write(1,b'\\x99\\x82')"
        async with session(server) as client:
            assert (await client.result(1, code)).text == "🙂"

    async def test_a_client_that_acks_nothing_holds_the_program_and_loses_nothing(self, server):
        code = "import sys\nfor i in range(100_000): print('%09d' % i)\nprint('done', file=sys.stderr)"
        async with session(server) as client:
            client.acks = False
            await client.run(1, code)
            channel = client.channel(1)
            await client.wait(lambda: channel.end == 256 * 1024, 15, "a full window")
            client.acks = True
            await client.send(m.Ack(1, channel.end))
            await client.ended(1)
            assert channel.end == 100_000 * 10 + 5


class TestInput:
    async def test_a_line_is_answered(self, server):
        async with session(server) as client:
            await client.run(1, 'print("Hello,", input("name? "))', mode="tty")
            await client.until(1, "name? ")
            await client.input(1, b"Ada\n")
            await client.until(1, "Hello, Ada")
            assert (await client.ended(1)).exit.code == 0
            assert client.channel(1).in_ack == 4

    async def test_input_behind_the_run_is_not_lost(self, server):
        async with session(server) as client:
            await client.run(1, "print(input()[::-1])")
            await client.input(1, b"abc\n")
            assert (await client.ended(1)).text == "cba\n"

    async def test_end_of_file_delivers_the_last_line_and_output_goes_on(self, server):
        async with session(server) as client:
            await client.run(1, "import sys\nd=sys.stdin.read()\nprint(repr(d))\nprint('after')")
            await client.input(1, b"one\ntwo")
            await client.send(m.Eof(1, 7))
            assert (await client.ended(1)).text == "'one\\ntwo'\nafter\n"

    @pytest.mark.parametrize("mode", ["pipe", "tty"])
    async def test_a_pasted_megabyte_reaches_a_slow_reader_whole(self, server, mode):
        code = (
            "import sys,os,time,hashlib\n"
            "if os.isatty(0):\n    import tty; tty.setraw(0)\n"
            "os.write(1, b'ready\\n')\n"
            "h=hashlib.sha256(); n=0\n"
            "while n < 1<<20:\n"
            "    d=os.read(0, 65536)\n    h.update(d); n+=len(d)\n    time.sleep(.001)\n"
            "print(h.hexdigest())"
        )
        data = bytes(i * 7 % 251 for i in range(1 << 20))
        async with session(server) as client:
            await client.run(1, code, mode=mode)
            await client.until(1, "ready")
            await client.input(1, data)
            channel = await client.ended(1, 40)
            assert hashlib.sha256(data).hexdigest() in channel.text
            assert channel.in_ack == 1 << 20

    async def test_a_gap_is_refused_and_a_repetition_trimmed(self, server):
        async with session(server) as client:
            await client.run(1, "import sys\nprint(sys.stdin.read())")
            await client.input(1, b"abc", offset=0)
            await client.input(1, b"xyz", offset=10)
            assert (await client.error("input_gap")).expected == 3
            await client.input(1, b"bcdef", offset=1)
            await client.send(m.Eof(1, 6))
            assert (await client.ended(1)).text == "abcdef\n"

    async def test_more_than_the_window_is_told(self, server):
        async with session(server) as client:
            await client.run(1, "import time\ntime.sleep(60)")
            await client.wait(lambda: client.channel(1).states, 10)
            for offset in range(0, 5 * 65536, 65536):
                await client.input(1, b"x" * 65536, offset=offset)
            overflow = await client.error("input_overflow")
            assert 65536 <= overflow.expected < 5 * 65536
            await client.send(m.Kill(1))
            assert (await client.ended(1)).exit.reason == "killed"


class TestControl:
    async def test_ctrl_c_ends_a_loop(self, server):
        async with session(server) as client:
            await client.run(1, "print('on')\nwhile True: pass", mode="tty")
            await client.until(1, "on")
            await client.input(1, b"\x03")
            channel = await client.ended(1, 5)
            assert "KeyboardInterrupt" in channel.text
            assert channel.exit.code in (1, 130) or channel.exit.signal == "INT"

    async def test_ctrl_c_acts_under_a_flood(self, server):
        async with session(server, "bash") as client:
            await client.run(1, "yes", mode="tty", entry="main.sh")
            await client.wait(lambda: client.channel(1).end > 1_000_000, 20, "a flood")
            await client.send(m.Signal(1, "INT"))
            channel = await client.ended(1, 5)
            assert channel.exit.signal == "INT" or channel.exit.code == 130

    async def test_the_first_size_is_right_and_a_resize_is_seen(self, server):
        code = (
            "import os,signal,sys\nprint(os.get_terminal_size())\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})\nprint('set')\n"
            "signal.sigwait({signal.SIGWINCH})\nprint(os.get_terminal_size())\ninput()"
        )
        async with session(server) as client:
            await client.run(1, code, mode="tty", cols=91, rows=31)
            await client.until(1, "set")
            assert "columns=91, lines=31" in client.channel(1).text
            await client.send(m.Resize(1, 100, 40))
            await client.until(1, "columns=100, lines=40")
            await client.message(m.Resized)
            await client.input(1, b"\n")
            await client.ended(1)

    async def test_a_kill_takes_the_whole_tree(self, server):
        code = (
            "import subprocess,time\n"
            "stubborn = 'trap \"\" TERM INT; sleep 600 & sleep 600'\n"
            "p=[subprocess.Popen(['sh','-c',stubborn]) for _ in range(3)]\n"
            "print('up', flush=True)\ntime.sleep(600)"
        )
        async with session(server) as client:
            await client.run(1, code)
            await client.until(1, "up")
            await client.send(m.Kill(1))
            channel = await client.ended(1, 5)
            assert (channel.exit.reason, channel.exit.signal) == ("killed", "KILL")
            probe = await client.result(2, "import os\nprint(os.popen('ps -eo args').read())")
            assert "sleep 600" not in probe.text

    async def test_signals_reach_the_program(self, server):
        code = (
            "import os,signal,time\n"
            "signal.signal(signal.SIGUSR1, lambda *a: os.write(1, b'usr1'))\nprint('set', flush=True)\n"
            "while True: time.sleep(.05)"
        )
        async with session(server) as client:
            await client.run(1, code)
            await client.until(1, "set")
            await client.send(m.Signal(1, "USR1"))
            await client.until(1, "usr1")
            await client.send(m.Signal(1, "TERM"))
            assert (await client.ended(1)).exit.signal == "TERM"

    async def test_a_shell_beside_the_program_shares_its_files(self, server):
        async with session(server) as client:
            await client.run(1, "open('made','w').write('by the program')\ninput()", mode="tty")
            await client.send(m.Shell(2, 80, 24))
            await client.wait(lambda: client.channel(2).end, 10, "a prompt")
            await client.input(2, b'until test -f made; do :; done; cat made; echo " $((6*7))"\n')
            await client.until(2, "by the program 42")
            await client.input(2, b"exit 3\n")
            assert (await client.ended(2)).exit.code == 3
            await client.input(1, b"\n")
            await client.ended(1)

    async def test_the_languages_prompt_has_the_program_loaded(self, server):
        async with session(server) as client:
            await client.run(1, "def area(r): return 3 * r * r", entry="shapes.py")
            await client.ended(1)
            await client.send(m.Shell(2, 80, 24, repl=True, entry="shapes.py"))
            await client.until(2, ">>> ")
            await client.input(2, b"area(37)\n")
            await client.until(2, "4107")
            await client.send(m.Shell(3, 80, 24, repl=True, entry="absent.py"))
            await client.until(3, ">>> ")
            await client.send(m.Shell(4, 80, 24, repl=True, entry="../x"))
            await client.error("bad_path")

    async def test_a_language_without_a_prompt_of_its_own_says_so(self, server):
        async with session(server, "c") as client:
            await client.send(m.Shell(1, 80, 24, repl=True))
            assert "send shell without repl" in (await client.error("bad_message")).message
            await client.send(m.Shell(2, 80, 24))
            await client.wait(lambda: client.channel(2).end, 10, "a prompt")

    async def test_a_repeated_run_starts_nothing(self, server):
        async with session(server) as client:
            await client.run(1, "print('once')\nimport time\ntime.sleep(.2)")
            await client.until(1, "once")
            await client.run(1, "print('twice')")
            channel = await client.ended(1)
            assert channel.text == "once\n"


class TestEndings:
    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("import sys; sys.exit(3)", {"reason": "exited", "code": 3}),
            ("import os; os.abort()", {"reason": "signaled", "signal": "ABRT"}),
            ("import os; os._exit(137)", {"reason": "exited", "code": 137}),
            ("import os; os.kill(os.getpid(), 9)", {"reason": "signaled", "signal": "KILL"}),
            ("x = bytearray(1 << 30)", {"reason": "oom", "signal": "KILL", "limits_hit": ("memory",)}),
            (
                "import subprocess\nsubprocess.run(['python3','-c','x = bytearray(1 << 30)'])",
                {"reason": "exited", "code": 0, "limits_hit": ("memory",)},
            ),
            (
                "import subprocess\nsubprocess.Popen(['sleep','600'])",
                {"reason": "exited", "code": 0, "left_behind": 1},
            ),
            (
                "open('big','wb').write(b'x'*(1<<27))",
                {"reason": "exited", "code": 1, "limits_hit": ("disk",)},
            ),
        ],
    )
    async def test_each_end_is_told_as_what_it_was(self, server, code, expected):
        async with session(server) as client:
            end = (await client.result(1, code)).exit
            for name, value in expected.items():
                assert getattr(end, name) == value, end

    @pytest.mark.parametrize(
        ("code", "expected"),
        some_now(
            [
                (
                    "int main() { std::vector<char> x(320 << 20, 1); pause(); }",
                    {"reason": "oom", "signal": "KILL", "limits_hit": ("memory",)},
                ),
                (
                    "int main() { if (!fork()) { std::vector<char> x(320 << 20, 1); pause(); } wait(0); }",
                    {"reason": "exited", "code": 0, "limits_hit": ("memory",)},
                ),
                (
                    # what several processes share is counted once
                    "int main() { std::vector<char> x(180 << 20, 1); for (int i = 0; i < 4; i++) if (!fork())"
                    " { sleep(1); return x[9] - 1; } while (wait(0) > 0); }",
                    {"reason": "exited", "code": 0, "limits_hit": ()},
                ),
            ],
            0,
            1,
        ),
    )
    async def test_a_program_has_its_own_share_of_what_its_compiler_may_use(self, server, code, expected):
        """Its container has 512 MiB, for the compiler."""
        text = f"#include <sys/wait.h>\n#include <unistd.h>\n#include <vector>\n{code}\n"
        async with session(server, "cpp") as client:
            end = (await client.result(1, text, entry="main.cpp")).exit
            for name, value in expected.items():
                assert getattr(end, name) == value, end

    @pytest.mark.parametrize(
        ("code", "limits", "reason"),
        [
            ("import time; time.sleep(60)", {"wall_ms": 400}, "wall_timeout"),
            ("while True: pass", {"cpu_ms": 300}, "cpu_timeout"),
            ("while True: print('x' * 1000)", {"output_bytes": 50_000}, "output_limit"),
        ],
    )
    async def test_limits_end_a_program_and_say_so(self, server, code, limits, reason):
        async with session(server) as client:
            end = (await client.result(1, code, limits=limits)).exit
            assert (end.reason, end.signal) == (reason, "KILL")
            if reason == "output_limit":
                assert end.offset == 50_000

    async def test_output_before_a_timeout_survives(self, server):
        async with session(server) as client:
            code = "print('Before', flush=True)\nimport time\ntime.sleep(30)\nprint('After')"
            channel = await client.result(1, code, limits={"wall_ms": 500})
            assert channel.text == "Before\n"

    async def test_a_fork_bomb_ends_and_is_named(self, server):
        code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
        async with session(server) as client:
            end = (await client.result(1, code, limits={"wall_ms": 1500})).exit
            assert (end.reason, end.limits_hit) == ("wall_timeout", ("pids",))
            assert (await client.result(2, "print('alive')")).text == "alive\n"

    async def test_a_program_that_closes_its_output_lives_on(self, server):
        code = "import os,time\nos.close(1); os.close(2); time.sleep(.3); os._exit(5)"
        async with session(server) as client:
            end = (await client.result(1, code)).exit
            assert end.code == 5
            assert end.usage.wall_ms >= 300

    async def test_a_missing_command_is_told_like_a_shell_does(self, server):
        async with session(server, "bash") as client:
            channel = await client.result(1, "no-such-command", entry="main.sh")
            assert channel.exit.code == 127


class TestCompiling:
    async def test_a_compile_error_is_its_own_ending(self, server):
        async with session(server, "c") as client:
            channel = await client.result(1, "int main( { return 0; }", entry="main.c")
            assert [state.phase for state in channel.states] == ["compiling", "exited"]
            assert (channel.exit.reason, channel.exit.code) == ("compile_failed", 1)
            assert "error:" in channel.text

    async def test_phases_have_their_own_output(self, server):
        code = '#include <stdio.h>\n#warning here\nint main(void) { puts("ran"); return 4; }'
        async with session(server, "c") as client:
            channel = await client.result(1, code, entry="main.c", mode="tty")
            compiling, running, _ = channel.states
            assert (compiling.phase, running.phase) == ("compiling", "running")
            assert b"warning" in channel.data[: running.offset]
            assert channel.data[running.offset :] == b"ran\r\n"
            assert channel.exit.code == 4
