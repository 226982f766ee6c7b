"""Lets a test import a role's modules and plugins, which are not on Python's path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROLES = Path(__file__).parents[1] / "roles"


def role_file(path: str) -> ModuleType:
    """Import ``roles/<path>``, such as ``jupyterhub/library/secret_files.py``."""
    name = "roles_" + path.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, ROLES / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
