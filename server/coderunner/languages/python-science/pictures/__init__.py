"""Pictures of a program: into its terminal as inline images, and into the workspace as files.

Matplotlib finds `backend` by its environment, Pillow `viewer` by a line at the end of its `ImageShow`.
"""

import base64
import io
import itertools
import os
import sys

FOLDER = "/workspace/.pictures"
MAX_BYTES = 3_000_000  # of a picture in the terminal, which keeps what it is sent; the file is whole
MAX_PIXELS = 4_000_000

_numbers = itertools.count(1)


def new_name(kind="png"):
    return f"figure-{next(_numbers)}.{kind}"


def show(picture, name=None):
    """Save the picture (PNG or GIF), and draw it where the program's output is a terminal."""
    save(picture, name or new_name())
    if sys.stdout is not None and sys.stdout.isatty():
        _draw(_fitting(picture))


def save(picture, name):
    try:
        os.makedirs(FOLDER, exist_ok=True)
        path = os.path.join(FOLDER, name)
        with open(path + ".part", "wb") as file:
            file.write(picture)
        os.replace(path + ".part", path)  # who looks sees the whole of one
    except OSError as error:
        print(f"{name} could not be saved: {error.strerror}", file=sys.stderr)


def _draw(picture):
    """With no size: the terminal makes it smaller where it does not fit."""
    text = base64.b64encode(picture).decode()
    sys.stdout.write(f"\x1b]1337;File=inline=1;size={len(picture)}:{text}\a\n")
    sys.stdout.flush()


def _fitting(picture):
    """Of one that is too large, a smaller copy; of a film, its first frame."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        pixels = image.width * image.height
        if len(picture) <= MAX_BYTES and pixels <= MAX_PIXELS:
            return picture
        scale = min(1.0, (MAX_PIXELS / pixels) ** 0.5)
        small = image.convert("RGBA").resize((int(image.width * scale) or 1, int(image.height * scale) or 1))
    out = io.BytesIO()
    small.save(out, "PNG")
    if out.tell() > MAX_BYTES:
        out = io.BytesIO()
        small.convert("RGB").save(out, "JPEG", quality=80)
    return out.getvalue()
