"""Starts the kernel of a notebook.

`python -m ipykernel_launcher` looks for modules in the notebook's folder first, so that any file there that is named as
one of Python's own modules would end the kernel.  Notebooks import what is beside them all the same: IPython adds their
folder, after Python's own modules.
"""

import sys
from importlib import import_module

# Not this script's folder, either.
if sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]
import_module("ipykernel.kernelapp").launch_new_instance()
