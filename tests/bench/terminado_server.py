"""The peer without a container: terminado, a terminal behind a WebSocket, with the same two programs.

    python -m tests.bench.terminado_server ECHO_FILE FLOOD_COMMAND

Prints the port.  `/echo` is a terminal with the program that echoes, `/flood` one in which the command runs.
"""

from __future__ import annotations

import sys

import terminado
from tornado import httpserver, ioloop, netutil, web


def main() -> None:
    file, flood = sys.argv[1:]
    managers = {
        "/echo": terminado.UniqueTermManager(shell_command=["python3", file]),
        "/flood": terminado.UniqueTermManager(shell_command=["bash", "-c", flood]),
    }
    routes = [(path, terminado.TermSocket, {"term_manager": one}) for path, one in managers.items()]
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    httpserver.HTTPServer(web.Application(routes)).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    ioloop.IOLoop.current().start()


if __name__ == "__main__":
    main()
