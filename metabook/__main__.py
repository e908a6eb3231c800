"""``python -m metabook``: the same as the command ``metabook``."""

import sys

from metabook.cli import main

if __name__ == "__main__":
    sys.exit(main())
