"""`python -m netlab`, and `python -P …/netlab/__main__.py` as scripts/netlab calls it from a checkout."""

import sys
from pathlib import Path

if not __package__:
    # Not by PYTHONPATH: the programs that netlab starts would inherit it.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from netlab.cli.main import main

if __name__ == "__main__":
    sys.argv[0] = "netlab"
    main()
