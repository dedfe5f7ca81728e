"""The program that is PID 1 in every session's container.

It stands alone: Python's standard library, nothing of the rest of CodeRunner, any Python from 3.9 on.
The server reaches it over the container's attach stream (``frames``); it starts programs under a
supervisor each (``supervisor``), keeps what they print in journals (``journal``) within the bounds of
``flow``, reads and writes files under the workspace (``files``, ``folders``), and keeps the language's own
service (``service``).  ``main`` is its event loop.
"""

# Grows when a server of this version could not talk to an agent of the version before.
VERSION = 3
