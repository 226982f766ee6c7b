"""For every IPython kernel, also those of a user's own environments: `!pip` and `!python` are the kernel's own."""

import os
import sys
from pathlib import Path

if sys.prefix != os.environ.get("VIRTUAL_ENV"):
    os.environ["PATH"] = f"{sys.prefix}/bin:{os.environ['PATH']}"
    os.environ.pop("VIRTUAL_ENV", None)
    # Conda's have none.
    if Path(sys.prefix, "pyvenv.cfg").exists():
        os.environ["VIRTUAL_ENV"] = sys.prefix
