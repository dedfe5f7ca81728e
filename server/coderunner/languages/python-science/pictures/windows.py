"""Matplotlib's backends with windows, which no session has, are ours: a program may name any of them."""

from matplotlib.backends.registry import BackendFilter, backend_registry

OURS = "module://coderunner_pictures.backend"

for name in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
    backend_registry._name_to_module[name] = OURS
    backend_registry._BUILTIN_BACKEND_TO_GUI_FRAMEWORK[name] = "headless"
