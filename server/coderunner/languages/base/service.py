"""Asks a language's warm service to do what a command does; the service runs beside the programs.

A request is the working folder and the command's words, each ended by a NUL, up to the end of the
stream. The answer is the exit code in decimal and a newline, then what the command would have printed.
A service that is away, breaks off or is silent for too long is None: then the plain command does it.
"""

import os
import socket

SILENCE_SECONDS = 30


def ask(path, words):
    """(exit code, output), or None."""
    request = "".join(f"{word}\0" for word in (os.getcwd(), *words)).encode("utf-8", "surrogateescape")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SILENCE_SECONDS)
            connection.connect(path)
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return None
    code, newline, output = answer.partition(b"\n")
    return (int(code), output) if newline and code.isdigit() else None
