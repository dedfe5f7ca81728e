"""Runs the probes in order and prints the result of each."""

from __future__ import annotations

import json
import sys
from typing import Any

from coderunner.canary.inside.tools import PROBES, Broken, Untried


def say(message: dict[str, Any]) -> None:
    """Prints a line of JSON for the server."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(want: dict[str, Any]) -> None:
    """Runs all probes. `want`: the expected limits, as `program.expectation` makes them."""
    for name, promise, function, not_in_gvisor in PROBES:
        outcome, detail = "held", ""
        say({"trying": name, "promise": promise})
        try:
            if want["gvisor"] and not_in_gvisor:
                raise Untried(not_in_gvisor)
            detail = str(function(want) or "")
        except Broken as error:
            outcome, detail = "broken", str(error)
        except Untried as error:
            outcome, detail = "untried", str(error)
        except BaseException as error:
            outcome, detail = "error", repr(error)
        say({"probe": name, "promise": promise, "outcome": outcome, "detail": detail[:400]})
    say({"done": len(PROBES)})
