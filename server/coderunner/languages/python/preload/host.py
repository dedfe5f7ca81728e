"""The process from which Python's programs are forked; with `--agent` also the agent.

A script is compiled at each start, and what it imports is not: so hosting.py has the rest.
"""

import sys

plain = frozenset(sys.modules)

import hosting  # noqa: E402

hosting.begin(plain, sys.argv[1:])
