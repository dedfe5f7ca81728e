"""Runs the probes in order and says what each saw."""

from __future__ import annotations

import json
import sys
from typing import Any

from coderunner.canary.inside.tools import PROBES, Broken, Untried


def say(message: dict[str, Any]) -> None:
    """One line of JSON for the server."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(want: dict[str, Any]) -> None:
    """Runs all probes, each in its own process; ``want``: what the server promises."""
    for name, promise, function in PROBES:
        outcome, detail = "held", ""
        say({"trying": name, "promise": promise})
        try:
            detail = str(function(want) or "")
        except Broken as error:
            outcome, detail = "broken", str(error)
        except Untried as error:
            outcome, detail = "untried", str(error)
        except BaseException as error:
            outcome, detail = "error", repr(error)
        say({"probe": name, "promise": promise, "outcome": outcome, "detail": detail[:400]})
    say({"done": len(PROBES)})
