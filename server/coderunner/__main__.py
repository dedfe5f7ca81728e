"""`python -m coderunner`."""

import gc
import sys

# A server's clients wait for it: modules are not looked through while they load, nor ever after.
gc.disable()

from coderunner.cli import main  # noqa: E402

gc.freeze()
gc.enable()
sys.exit(main())
