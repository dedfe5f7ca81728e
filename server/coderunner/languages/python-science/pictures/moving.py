"""A figure's animations as one GIF."""

import itertools
import os
import tempfile
import time

from matplotlib.animation import PillowWriter

MAX_FRAMES = 100
MAX_SECONDS = 10.0  # of making them; what was made by then is shown
MIN_MS = 20  # between frames: shorter ones are slowed down by who shows them


def film(animations):
    """The bytes of a GIF with the frames of all of them, side by side, as `Animation.save` makes them."""
    until = time.monotonic() + MAX_SECONDS
    for one in animations:
        one.new_saved_frame_seq = _bounded(one.new_saved_frame_seq, until)
    first, *others = animations
    fps = 1000 / max(getattr(first, "_interval", 200), MIN_MS)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "film.gif")
        first.save(path, PillowWriter(fps=fps), extra_anim=others, dpi=first._fig.dpi)
        with open(path, "rb") as file:
            return file.read()


def _bounded(frames, until):
    return lambda: itertools.takewhile(
        lambda _: time.monotonic() < until, itertools.islice(frames(), MAX_FRAMES)
    )
