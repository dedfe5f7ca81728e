"""Says whether a container engine answers: exit 0 yes, 1 no, 3 it is there but may not be used by this user.

    ping_engine.py unix:///var/run/docker.sock
    ping_engine.py tcp://127.0.0.1:2375 /images/NAME/json      does it also have this?
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0


class _Connection(http.client.HTTPConnection):
    """HTTP over whatever the address names."""

    def __init__(self, url: str) -> None:
        super().__init__("engine", timeout=TIMEOUT_SECONDS)
        self._parts = urlsplit(url)

    def connect(self) -> None:
        parts = self._parts
        if parts.scheme == "unix":
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(TIMEOUT_SECONDS)
            self.sock.connect(parts.netloc + parts.path)
            return
        tls = parts.scheme == "https"
        place = (parts.hostname or "localhost", parts.port or (2376 if tls else 2375))
        self.sock = socket.create_connection(place, TIMEOUT_SECONDS)
        if tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=place[0])


def ping(url: str, path: str = "/_ping") -> int:
    connection = _Connection(url)
    try:
        connection.request("GET", path)
        return 0 if connection.getresponse().status == 200 else 1
    except PermissionError:
        return 3
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(ping(*sys.argv[1:]))
