"""`python -m quarterdeck.cli`."""

from __future__ import annotations

import sys

from quarterdeck.cli import main

if __name__ == "__main__":
    sys.exit(main())
