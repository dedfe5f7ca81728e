"""`python -m coderunner`."""

import sys

from coderunner.cli import main

sys.exit(main())
