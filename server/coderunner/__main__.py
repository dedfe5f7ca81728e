"""`python -m coderunner`, and the command `coderunner`."""

import gc
import sys

# A server's clients wait for it: modules are not looked through while they load, nor ever after.
gc.disable()

from coderunner.cli import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    sys.exit(main())
