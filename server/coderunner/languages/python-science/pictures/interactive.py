"""Plotly's `show` without a browser: the figure is saved as a page of its own, which opens as an artifact.

Imported by a line at the end of Plotly's `_renderers`.
"""

import coderunner_pictures
from plotly.io._base_renderers import ExternalRenderer
from plotly.io._renderers import renderers


class FileRenderer(ExternalRenderer):
    def render(self, fig_dict):
        from plotly.io import to_html

        # With its 5 MB of JavaScript: a session has no network, and the page loads nothing from elsewhere.
        page = to_html(fig_dict, include_plotlyjs=True)
        coderunner_pictures.save(page.encode(), coderunner_pictures.new_name("html"))


for name in ("browser", "chrome", "chromium", "firefox", "notebook", "iframe"):
    renderers[name] = FileRenderer()
renderers.default = "browser"
