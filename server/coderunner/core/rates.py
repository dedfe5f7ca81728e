"""Rate limits: a token bucket for each network, narrow and wide."""

from __future__ import annotations

from collections import OrderedDict

from coderunner.core.networks import networks

MAX_ADDRESSES = 8192
"""Buckets that are kept; of more, the one that was not used for the longest time is forgotten."""


MAX_WAIT_SECONDS = 2.0
"""Seconds of credit at most: nobody waits longer for what others of their address took."""


class Rates:
    """`rate` tokens a second and at most `burst` at once, for one address; wider networks have multiples."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def charge(self, address: str, now: float, cost: float = 1.0) -> float:
        """Takes `cost` tokens, on credit where there are none; answers the seconds until they are paid back.

        `now`: seconds of a monotonic clock.
        """
        wait = 0.0
        for key, allowance in networks(address):
            rate, burst = self._rate * allowance, self._burst * allowance
            tokens, at = self._buckets.pop(key, (burst, now))
            tokens = max(min(burst, tokens + (now - at) * rate) - cost, -rate * MAX_WAIT_SECONDS)
            self._buckets[key] = (tokens, now)
            wait = max(wait, -tokens / rate)
        while len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return wait

    def allows(self, address: str, now: float, cost: float = 1.0) -> bool:
        """Takes the tokens only where all are there."""
        for key, allowance in networks(address):
            burst = self._burst * allowance
            tokens, at = self._buckets.get(key, (burst, now))
            if min(burst, tokens + (now - at) * self._rate * allowance) < cost:
                return False
        self.charge(address, now, cost)
        return True
