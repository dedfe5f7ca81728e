"""Asks a language's warm service to do what a command does; the service runs beside the programs.

A request is the working folder and the command's words, each ended by a NUL, up to the end of the
stream. The answer is the exit code in decimal and a newline, then what the command would have printed.
A service that is away, breaks off or is silent for too long is None: then the plain command does it.
"""

import _socket  # the part in C: the module takes as long to import as Python to start
import os

SILENCE_SECONDS = 30


def ask(path, words):
    """(exit code, output), or None."""
    request = "".join(f"{word}\0" for word in (os.getcwd(), *words)).encode("utf-8", "surrogateescape")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(SILENCE_SECONDS)
        connection.connect(path)
        connection.sendall(request)
        connection.shutdown(_socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return None
    finally:
        connection.close()
    code, newline, output = answer.partition(b"\n")
    return (int(code), output) if newline and code.isdigit() else None
