"""Memory that the server holds for clients: a bound for all together, and shares of it by client address."""

from __future__ import annotations

from collections import Counter

from coderunner.core.networks import networks


class Shares:
    """Counts bytes by the networks of addresses (`core.networks`). `of_one`: the most for one address.
    `of_all`: for all together; a wider network has a multiple of `of_one`, and at most half of it."""

    def __init__(self, of_one: int, of_all: int) -> None:
        self._of_one = of_one
        self._of_all = of_all
        self._held: Counter[str] = Counter()
        self.total = 0

    def allows(self, address: str, more: int) -> bool:
        """Whether `more` bytes may be held for `address`."""
        if self.total + more > self._of_all:
            return False
        # At most half: one site may have 65,536 /64 networks, and must not use up everything.
        return all(
            self._held[key] + more <= (self._of_one if allowance == 1 else self._wide(allowance))
            for key, allowance in networks(address)
        )

    def _wide(self, allowance: int) -> int:
        return min(allowance * self._of_one, max(self._of_one, self._of_all // 2))

    def add(self, address: str, size: int) -> None:
        """Counts `size` more bytes for `address`; a negative one gives them back."""
        self.total += size
        for key, _ in networks(address):
            self._held[key] += size
            if not self._held[key]:
                del self._held[key]
