"""A TCP proxy that a test can cut: what happens to a page when its network fails."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 16_384


class CuttingProxy:
    """Passes bytes between a browser and the server.

    ``cut()`` breaks all connections; ``closed`` True refuses new ones; ``stalled`` True passes nothing on,
    and tells nobody; with ``first_wish`` True all connections break behind the first message of a WebSocket,
    and new ones are refused; with ``life`` (least, most) each connection breaks in the middle of what the
    server sends, after a number of bytes drawn from there.
    """

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        assert target.hostname is not None
        assert target.port is not None
        self._target = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._ended = False
        self.closed = False
        self.stalled = False
        self.first_wish = False
        self.life: tuple[int, int] | None = None
        self._random = random.Random(1)
        self.cuts = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._accept, name="proxy")

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self.cut()
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), 1).close()  # wakes accept()
        self._thread.join(5)
        self._listener.close()

    def cut(self) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._reset(pair)

    def _reset(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.discard(pair)
            self.cuts += 1
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        threads = []
        while not self._ended:
            near, _ = self._listener.accept()
            if self.closed or self._ended:
                near.close()
                continue
            far = socket.create_connection(self._target, 5)
            pair = (near, far)
            with self._lock:
                self._pairs.add(pair)
            thread = threading.Thread(target=self._pump, args=pair, name="proxy connection")
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join(5)

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        pair = (near, far)
        passed = 0
        drawn = self._random.random()
        greeted = False
        with near, far:
            while pair in self._pairs:
                try:
                    watched = () if self.stalled else pair
                    ready, _, _ = select.select(watched, (), (), 0.05 if self.stalled else 0.2)
                    if self.stalled:
                        continue
                    for end in ready:
                        data = end.recv(CHUNK)
                        if not data:
                            return self._reset(pair)
                        if end is near:
                            far.sendall(data)
                            if greeted and self.first_wish:
                                self.closed = True
                                return self._reset(pair)
                            continue
                        greeted = greeted or b'"type":"hello"' in data
                        passed += len(data)
                        if self.life is not None and passed > self.life[0] + drawn * (
                            self.life[1] - self.life[0]
                        ):
                            near.sendall(data[: len(data) // 2])
                            return self._reset(pair)
                        near.sendall(data)
                except OSError:
                    return self._reset(pair)
        return None
