"""The program that is PID 1 in every session's container.

It imports ``coderunner.wire`` and Python's standard library only, and runs on any Python from 3.9 on. It
connects to a socket of the server's, or is reached over the container's attach stream (``link``, ``stream``).
It starts each program under a supervisor (``supervisor``), keeps the programs' output in journals within the
bounds of flow control, reads and writes files below the workspace (``files``, ``folders``), and runs the
language's service (``service``). ``main`` is its event loop.
"""
