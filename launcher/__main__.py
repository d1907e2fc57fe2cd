"""`python -m launcher` is `privyseal`, where no console script is at hand."""

from __future__ import annotations

import sys

from launcher.cli import main

sys.exit(main(sys.argv[1:]))
