"""What is counted of those who have no session: frames, rates and networks."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.attack import raw
from coderunner.core import codec
from coderunner.core.admission import Admission, Ticket
from coderunner.core.framing import Framing
from coderunner.core.networks import customer, networks
from coderunner.core.rates import MAX_WAIT_SECONDS, Rates
from coderunner.errors import BadMessage, CodeRunnerError, TooManySessions
from tests.reference import work_seconds

_frames = st.lists(
    st.tuples(st.sampled_from([raw.TEXT, raw.BINARY, raw.PING]), st.binary(max_size=300), st.booleans()),
    max_size=6,
)


@given(_frames, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_messages_are_counted_however_their_bytes_come(frames, cuts):
    data = b"".join(raw.frame(kind, payload[:125], mask=mask) for kind, payload, mask in frames)
    framing = Framing(65536, 65536)
    at = 0
    while at < len(data):
        step = cuts[at % len(cuts)]
        assert framing.feed(data[at : at + step])
        at += step
    assert framing.complete == [len(payload[:125]) for _, payload, _ in frames]
    assert not framing.unfinished
    assert framing.partial == 0


def test_a_message_in_fragments_is_unfinished_until_its_last():
    framing = Framing(100, 100)
    assert framing.feed(raw.frame(raw.TEXT, b"x" * 50, fin=False) + raw.frame(raw.PING, b"!"))
    assert framing.unfinished
    assert framing.partial == 50
    assert framing.feed(raw.frame(raw.CONTINUATION, b"x" * 50))
    assert not framing.unfinished
    assert framing.complete == [1, 100]
    assert framing.feed(raw.frame(raw.TEXT, b"x" * 60, fin=False))
    assert not framing.feed(raw.frame(raw.CONTINUATION, b"", length=41))


def test_half_a_head_is_unfinished():
    framing = Framing(100, 100)
    assert framing.feed(b"\x81")
    assert framing.unfinished


def test_a_neighbouring_network_does_not_help():
    rates = Rates(1.0, 10.0)
    taken = sum(rates.allows(f"2001:db8:0:{number:x}::1", 0.0) for number in range(256))
    assert taken == 20  # the /56 has twice what a /64 has
    taken += sum(rates.allows(f"2001:db8:0:{number:x}::1", 0.0) for number in range(256, 4096))
    assert taken == 40  # and the /48 twice that
    assert rates.allows("2001:db8:1::1", 0.0)


def test_sessions_are_counted_by_wider_networks_too():
    admission = Admission(100, 0, per_address=2)
    had = 0
    for number in range(300):
        ticket = Ticket(f"{number}", f"2001:db8:0:{number:x}::/64", None, "python", 1.0)
        with contextlib.suppress(TooManySessions):
            had += admission.ask(ticket, 0.0)
    assert had == 8  # four of each /56, eight of the /48
    for number in range(300):
        admission.release(f"{number}", 0.0)
    assert admission.ask(Ticket("again", "2001:db8::/64", None, "python", 1.0), 0.0)


def test_credit_is_short():
    rates = Rates(10.0, 10.0)
    for _ in range(1000):
        wait = rates.charge("192.0.2.1", 0.0)
    assert wait == MAX_WAIT_SECONDS
    assert rates.charge("192.0.2.2", 0.0) <= 0
    assert rates.charge("192.0.2.1", 100.0) <= 0


@pytest.mark.parametrize(
    ("address", "name", "count"),
    [("192.0.2.1", "192.0.2.1", 1), ("::ffff:192.0.2.1", "192.0.2.1", 1),
     ("2001:db8:1:2:3::1", "2001:db8:1:2::/64", 3),
     ("2001:db8:1:2::/64", "2001:db8:1:2::/64", 3), ("unknown", "unknown", 1)],
)  # fmt: skip
def test_networks(address, name, count):
    assert customer(address) == name
    assert len(networks(address)) == count


@pytest.mark.timed
@pytest.mark.parametrize("value", ["[]", "{}", "0", '""', '{"a":0}'])
@pytest.mark.parametrize("size", [60_000, codec.MAX_TEXT])
def test_no_text_takes_long_for_its_values(value, size):
    text = f'{{"type":"ping","t":1,"x":[{",".join([value] * ((size - 40) // (len(value) + 1)))}]}}'
    began = time.process_time()  # of this process alone: the machine may have other work
    if text.count(",") < codec.MAX_VALUES // 2:
        codec.decode_client_text(text)
    else:
        with pytest.raises(BadMessage, match="values"):
            codec.decode_client_text(text)
    assert time.process_time() - began < 50 * work_seconds()  # it was ten times as much


def _filled(before: str, piece: str, after: str) -> bytes:
    """As long as a text may be."""
    room = codec.MAX_TEXT - len(before) - len(after)
    return (before + piece * (room // len(piece.encode())) + after).encode()


RUN = '{"type":"run","channel":1,"mode":"pipe","entry":"a",'
LONG = {
    "escapes": _filled(RUN + '"files":[{"path":"a","content":"', "\\n", '"}]}'),
    "wide": _filled(RUN + '"files":[{"path":"a","content":"', "\u6f22", '"}]}'),
    "a bad type": _filled('{"type":"', "\\n", '"}'),
    "too many arguments": _filled(RUN + '"args":[' + '"a",' * 16_000 + '"', "x", '"]}'),
}


@pytest.mark.timed
@pytest.mark.parametrize("name", LONG)
def test_no_step_of_reading_a_long_text_takes_long(name):
    """What is wrong with it is looked for in readings of their own, with others' turns in between."""

    def longest() -> float:
        worst, steps = 0.0, codec.decode_client_steps(LONG[name])
        while True:
            began = time.thread_time()
            try:
                next(steps)
            except (StopIteration, CodeRunnerError):
                return max(worst, time.thread_time() - began)
            worst = max(worst, time.thread_time() - began)

    plain = min(_seconds(lambda: json.loads(LONG[name])) for _ in range(3))
    seen = min(longest() for _ in range(3))
    # A step may be one parse of all of it at most; two equal ones differ by half when the machine is busy.
    assert seen < max(0.005, 1.5 * plain), (
        f"{seen * 1000:.1f} ms; json of the standard library {plain * 1000:.1f}"
    )


def _seconds(work) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def test_a_source_full_of_brackets_and_quotes_is_welcome():
    content = '{"a": [1, 2, "\\\\", "\\""], },\n' * 40_000
    files = [{"path": "a", "content": content}]
    text = json.dumps({"type": "run", "channel": 1, "mode": "pipe", "files": files})
    assert codec.SMALL_TEXT < len(text) < codec.MAX_TEXT
    assert codec.decode_client_text(text).files[0].content == content.encode()


@given(st.text(alphabet='\\"[]{},ax\n', max_size=2000))
def test_values_inside_of_texts_do_not_count(inside):
    text = json.dumps({"type": "signal", "channel": 1, "name": "INT", "more": inside * 40})
    assert codec.decode_client_text(text).name == "INT"
