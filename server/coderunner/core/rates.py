"""Rate limits by client address: one token bucket for each network of `core.networks`."""

from __future__ import annotations

from collections import OrderedDict

from coderunner.core.networks import networks

MAX_ADDRESSES = 8192
"""The most buckets that are kept; beyond that the least recently used is dropped, which bounds the memory."""


MAX_WAIT_SECONDS = 2.0
"""The most debt, in seconds: a client behind a shared address waits no longer for what others used."""


class Rates:
    """Token buckets with `rate` tokens per second and at most `burst` tokens for one address.

    Wider networks have multiples of both (`core.networks`).
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def charge(self, address: str, now: float, cost: float = 1.0) -> float:
        """Takes `cost` tokens, going into debt if necessary. Returns the seconds until the debt is paid off.

        `now`: seconds of a monotonic clock.
        """
        wait = 0.0
        for key, allowance in networks(address):
            rate, burst = self._rate * allowance, self._burst * allowance
            tokens, at = self._buckets.pop(key, (burst, now))
            # Refill up to `burst`, take `cost`, and limit the debt.
            tokens = max(min(burst, tokens + (now - at) * rate) - cost, -rate * MAX_WAIT_SECONDS)
            self._buckets[key] = (tokens, now)  # removed and added again: the order is that of use
            wait = max(wait, -tokens / rate)
        while len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return wait

    def allows(self, address: str, now: float, cost: float = 1.0) -> bool:
        """Takes `cost` tokens if every network has them, and returns True; otherwise takes none.

        `now`: seconds of a monotonic clock.
        """
        for key, allowance in networks(address):
            burst = self._burst * allowance
            tokens, at = self._buckets.get(key, (burst, now))
            if min(burst, tokens + (now - at) * self._rate * allowance) < cost:
                return False
        # Only after all have been checked: a refusal must not cost the networks that would have allowed it.
        self.charge(address, now, cost)
        return True
