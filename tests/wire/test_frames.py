"""Frames: back in step after any break, and never fooled by what only looks like one."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.wire import frames
from coderunner.wire.frames import Assembler, Decoder, encode, encode_message

fields = st.fixed_dictionaries(
    {
        "kind": st.integers(1, 255),
        "generation": st.integers(0, 2**64 - 1),
        "payload": st.binary(max_size=300),
        "channel": st.integers(0, 65535),
        "offset": st.integers(0, 2**64 - 1),
        "stream": st.integers(0, 255),
    }
)
seeds = st.integers(0, 2**32 - 1)


def encoded(values, seed):
    return encode(
        values["kind"], values["generation"], values["payload"],
        channel=values["channel"], offset=values["offset"], stream=values["stream"], seed=seed,
    )  # fmt: skip


def as_values(frame):
    return dict(zip(frame._fields, frame, strict=True))


class TestDecoder:
    @given(st.lists(fields, max_size=6), seeds, st.data())
    def test_any_split_gives_the_same_frames(self, many, seed, data):
        whole = b"".join(encoded(one, seed) for one in many)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
        decoder, found, start = Decoder(seed), [], 0
        for cut in [*cuts, len(whole)]:
            found += decoder.feed(whole[start:cut])
            start = cut
        assert [as_values(one) for one in found] == many
        assert decoder.skipped == 0

    @given(fields, fields, seeds, st.data())
    def test_after_a_torn_frame_and_a_preamble_the_next_is_found(self, torn, after, seed, data):
        first = encoded(torn, seed)
        cut = data.draw(st.integers(0, len(first) - 1))
        decoder = Decoder(seed)
        found = decoder.feed(first[:cut] + frames.PREAMBLE + encoded(after, seed))
        assert [as_values(one) for one in found] == [after]

    @given(fields, st.binary(max_size=200), seeds)
    def test_beginning_in_the_middle_finds_the_next_frame(self, after, noise, seed):
        found = Decoder(seed).feed(noise + frames.PREAMBLE + encoded(after, seed))
        assert as_values(found[-1]) == after

    @given(fields, seeds, seeds)
    def test_a_frame_of_another_seed_is_none(self, one, seed, other):
        if seed != other:
            assert Decoder(other).feed(encoded(one, seed)) == []

    @given(st.binary(max_size=2000), seeds)
    def test_noise_of_any_kind_raises_nothing(self, noise, seed):
        Decoder(seed).feed(noise)

    def test_noise_never_raises_and_is_not_kept(self):
        """The longest frame that may have begun is, at most: here every few bytes may be a beginning."""
        decoder = Decoder(7)
        piece = (frames.MAGIC * 9 + bytes(range(256))) * 200
        tracemalloc.start()
        try:
            for _ in range(10):
                assert decoder.feed(piece) == []
            assert tracemalloc.get_traced_memory()[0] < frames.MAX_PAYLOAD + frames.HEADER_SIZE + 4096
        finally:
            tracemalloc.stop()

    def test_output_that_imitates_a_frame_is_only_output(self):
        forged = encode(frames.STATE, 7, b'{"phase":"exited"}', seed=0)
        real = encode(frames.OUTPUT, 7, forged * 3, seed=1234)
        (frame,) = Decoder(1234).feed(real)
        assert frame.payload == forged * 3
        # Not even when the reading begins in the middle of the real one.
        assert Decoder(1234).feed(real[40:]) == []


class TestMessages:
    @given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), st.binary(max_size=200_000))
    def test_a_message_of_any_size_comes_back(self, body, raw):
        assembler, found = Assembler(), None
        for frame in Decoder().feed(encode_message(frames.CALL, 1, body, raw)):
            assert found is None
            found = assembler.add(frame)
        assert found == (body, raw)

    def test_one_over_the_limit_is_refused_and_the_next_is_good(self):
        assembler = Assembler(limit=100_000)
        parts = Decoder().feed(encode_message(frames.CALL, 1, {}, bytes(150_000)))
        for frame in parts[:-1]:
            assert assembler.add(frame) is None
        with pytest.raises(ValueError, match="limit"):
            assembler.add(parts[-1])
        (good,) = Decoder().feed(encode_message(frames.CALL, 1, {"a": 1}))
        assert assembler.add(good) == ({"a": 1}, b"")

    @given(st.binary(max_size=64))
    def test_a_hostile_message_is_a_value_error(self, noise):
        try:
            body, _ = frames.decode_message(noise)
        except ValueError:
            return
        assert isinstance(body, dict)
