"""Words of the protocol, for the agent. Made by scripts/schema.sh from coderunner/schema."""

MODES = ("tty", "pipe")
PHASES = ("compiling", "running", "exited")
STOPPED_BY = ("STOP", "TSTP", "TTIN", "TTOU", "output")
