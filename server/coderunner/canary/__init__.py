"""The canary: before a language is offered, a container made like all others attacks itself."""

from coderunner.canary.program import expectation
from coderunner.canary.run import CanaryUnfinished, run_canary
from coderunner.canary.verdict import Verdict
from coderunner.schema.canary import Finding

__all__ = ["CanaryUnfinished", "Finding", "Verdict", "expectation", "run_canary"]
