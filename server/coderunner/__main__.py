"""`python -m coderunner`, and the command `coderunner`."""

import sys

from coderunner.cli import main

if __name__ == "__main__":
    sys.exit(main())
