"""`python -m fps_kernels.keeper`: runs a keeper."""

import sys

from .keeper_main import main

if __name__ == "__main__":
    sys.exit(main())
