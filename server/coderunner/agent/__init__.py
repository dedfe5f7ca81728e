"""The program that is PID 1 in every session's container.

It needs ``coderunner.wire`` and Python's standard library, any Python from 3.9 on, and nothing of the rest.
It connects to a socket of the server's, or is reached over the container's attach stream (``link``,
``stream``); it starts programs under a supervisor each (``supervisor``), keeps what they print in journals
within the bounds of flow control, reads and writes files under the workspace (``files``, ``folders``), and
keeps the language's own service (``service``).
``main`` is its event loop.
"""
