"""Imported by the preload only: a first figure is drawn, so that programs find its fonts and tables ready."""

import contextlib
import io
import os
import shutil

# Matplotlib's list of fonts, made with the image; it takes a second, and its folder is the session's own.
with contextlib.suppress(OSError):
    shutil.copytree("/opt/coderunner/matplotlib", os.environ["MPLCONFIGDIR"], dirs_exist_ok=True)

from coderunner_pictures.backend import FigureCanvas
from matplotlib import pyplot  # noqa: F401 (imported for programs)
from matplotlib.figure import Figure

_figure = Figure()
_canvas = FigureCanvas(_figure)
_axes = _figure.add_subplot()
_axes.plot([1, 2, 3], [1, -4, 9], label="$x$")
_axes.scatter([1, 2], [1, 2])
_axes.bar([1, 2], [1, 2])
_axes.set(title="Title", xlabel="x", ylabel="y")
_axes.legend()
_canvas.print_figure(io.BytesIO(), format="png")
del _figure, _canvas, _axes
