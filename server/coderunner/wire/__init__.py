"""What the server and the agent in a container count with together.

Frames between the two (``frames``), the numbers and rules of flow control (``flow``), the record of a
channel's output (``journal``), which files are artifacts (``artifacts``), words (``words``). Python's
standard library only, any Python from 3.9 on: it is copied into every container beside the agent.
"""

# Grows when a server of this version could not talk to an agent of the version before.
VERSION = 3

# Where a container finds the folder with the socket to which its agent connects, and the socket's name in it.
SOCKET_FOLDER = "/run/coderunner"
SOCKET_NAME = "agent.sock"
