"""Matplotlib's backend for a terminal: as with a window, `show` shows what is open, and then it is closed."""

import contextlib
import io

import coderunner_pictures
from matplotlib import is_interactive
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


class FigureManager(FigureManagerBase):
    _name = None  # of its file, from the first time on

    def show(self):
        """A figure that has not changed since is not drawn again."""
        if self._name is not None and not self.canvas.news and not self.canvas.figure.stale:
            return
        animations = _animations(self.canvas)
        self._name = self._name or coderunner_pictures.new_name("gif" if animations else "png")
        if animations:
            from coderunner_pictures.moving import film

            data = film(animations)
        else:
            out = io.BytesIO()
            self.canvas.print_figure(out, format="png", dpi="figure")
            data = out.getvalue()
        self.canvas.figure.stale = self.canvas.news = False
        coderunner_pictures.show(data, self._name)

    # What programs ask of a window: nothing to be done.
    def set_window_title(self, title):
        pass

    def full_screen_toggle(self):
        pass

    def resize(self, width, height):
        pass


class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager
    news = False  # it was drawn, but not shown yet: `pause` draws first

    def draw(self):
        super().draw()
        self.news = True


def _animations(canvas):
    """Those that end with the figure."""
    found = []
    for waiting in canvas.callbacks.callbacks.get("close_event", {}).values():
        with contextlib.suppress(TypeError):
            owner = getattr(waiting(), "__self__", None)
            if hasattr(owner, "new_saved_frame_seq"):
                found.append(owner)
    return found


def show(*, block=None):
    """All open figures. Where a window would be waited for (`block`), they are closed: they were seen."""
    for manager in Gcf.get_all_fig_managers():
        manager.show()
    if block or (block is None and not is_interactive()):
        Gcf.destroy_all()
