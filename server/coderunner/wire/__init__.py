"""Definitions that the server and the agent share.

Frames between the two (``frames``), the sizes, times and rules of flow control (``flow``), the record of a
channel's output (``journal``), which files are artifacts (``artifacts``), names of phases and modes
(``words``). It needs Python's standard library only, from Python 3.9 on: it is copied into every container
beside the agent.
"""

# Incremented whenever a server of this version cannot talk to an agent of the version before.
VERSION = 3

# The folder, as the container sees it, of the socket to which its agent connects, and the socket's file name.
SOCKET_FOLDER = "/run/coderunner"
SOCKET_NAME = "agent.sock"
