"""Fairness of the event loop: sockets of low priority (a "crowd") are handled after all others.

asyncio handles all ready sockets in one turn of the loop, so that many of them delay all others. Here the
sockets of the crowd are in an epoll of their own, from which a turn takes at most FEW, in the order in which
they became ready. Data for them are sent in at most FEW_PIECES pieces a turn, too (`Crowd`).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

FEW_PIECES = 4  # pieces that are sent to the crowd in a turn
FEW = 2  # sockets of the crowd in a turn; what each sets off takes up to two milliseconds


class _Map(Mapping[Any, selectors.SelectorKey]):
    """The registered keys, by descriptors or by the objects that have them."""

    def __init__(
        self, second: Mapping[int, selectors.SelectorKey], first: Mapping[Any, selectors.SelectorKey]
    ) -> None:
        self._second = second
        self._first = first

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._second.get(_number(fileobj)) or self._first[fileobj]

    def __iter__(self) -> Iterator[Any]:
        yield from self._second
        yield from self._first

    def __len__(self) -> int:
        return len(self._second) + len(self._first)


class _Lanes(selectors.BaseSelector):
    """A selector made of two. `crowd`: the descriptors that belong to the second."""

    def __init__(self) -> None:
        self.crowd: set[int] = set()
        self._first = selectors.EpollSelector()
        self._second = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}  # of the second
        # An epoll is itself readable when one of its descriptors is ready (epoll(7)).
        self._first.register(self._second.fileno(), selectors.EVENT_READ)
        self._map = _Map(self._keys, self._first.get_map())

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _number(fileobj)
        if fd not in self.crowd:
            return self._first.register(fileobj, events, data)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        self._second.register(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        fd = _number(fileobj)
        if fd not in self._keys:
            return self._first.unregister(fileobj)
        with contextlib.suppress(OSError):  # closed already, as with the other
            self._second.unregister(fd)
        return self._keys.pop(fd)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _number(fileobj)
        if fd not in self._keys:
            return self._first.modify(fileobj, events, data)
        self._second.modify(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def move(self, fd: int) -> None:
        """Registers a descriptor with the selector that it belongs to now."""
        known = self._keys.get(fd) if fd not in self.crowd else self._first.get_map().get(fd)
        if known is not None:
            self.unregister(fd)
            self.register(known.fileobj, known.events, known.data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        crowd = self._second.fileno()
        ready = self._first.select(timeout)
        found = [one for one in ready if one[0].fd != crowd]
        if len(found) == len(ready):
            return found
        # The kernel takes ready descriptors from the front of its list and appends those that stay ready at
        # the end: so all get their turn.
        for fd, event in self._second.poll(0, FEW):
            key = self._keys.get(fd)
            if key is not None:
                # As in the standard library: an error or hang-up counts as both, so that the transport
                # notices it.
                read = selectors.EVENT_READ if event & ~select.EPOLLOUT else 0
                write = selectors.EVENT_WRITE if event & ~select.EPOLLIN else 0
                found.append((key, (read | write) & key.events))
        return found

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._map

    def close(self) -> None:
        self._first.close()
        self._second.close()


def _number(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _mask(events: int) -> int:
    read = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return read | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop, which handles the crowd's sockets last."""

    def __init__(self) -> None:
        self._lanes = _Lanes()
        super().__init__(self._lanes)

    def second(self, fd: int) -> None:
        """Adds the socket with this descriptor to the crowd. `first` must be called before it is closed."""
        self._lanes.crowd.add(fd)
        self._lanes.move(fd)

    def first(self, fd: int) -> None:
        """Removes the socket with this descriptor from the crowd."""
        self._lanes.crowd.discard(fd)
        self._lanes.move(fd)


def second(fd: int) -> None:
    """As `Loop.second`, in the running loop; does nothing if that is not a `Loop`."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, Loop):
        loop.second(fd)


def first(fd: int) -> None:
    """As `Loop.first`, in the running loop; does nothing if that is not a `Loop`."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, Loop):
        loop.first(fd)


class Crowd:
    """Limits work for the crowd, such as sending, to `FEW_PIECES` pieces in a turn, in the order of calls.
    Without it, a writer whose socket accepts all data would never yield to the loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = FEW_PIECES
        self._set = False  # the next turn is asked for

    async def turn(self) -> None:
        """Returns when the caller may do one piece of work, which should take less than a millisecond."""
        if not self._set:
            self._set = True
            asyncio.get_running_loop().call_soon(self._next)
        if self._left and not self._waiting:
            self._left -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def _next(self) -> None:
        self._left = FEW_PIECES
        while self._left and self._waiting:
            one = self._waiting.popleft()
            if not one.done():  # cancelled
                one.set_result(None)
                self._left -= 1
        self._set = self._left < FEW_PIECES
        if self._set:
            asyncio.get_running_loop().call_soon(self._next)
