"""The canary: before a language is offered, a program attacks its own container, made like those of
sessions."""

from coderunner.canary.program import expectation
from coderunner.canary.run import CanaryUnfinished, run_canary
from coderunner.canary.verdict import Verdict
from coderunner.schema.canary import Finding

__all__ = ["CanaryUnfinished", "Finding", "Verdict", "expectation", "run_canary"]
