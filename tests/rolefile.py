"""Lets a test import a role's modules and plugins, which are not on Python's path."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible import module_utils

PROJECT = Path(__file__).parents[1]
ROLES, IMAGES = PROJECT / "roles", PROJECT / "images"
# As Ansible does for modules (ansible.cfg).
module_utils.__path__.append(str(ROLES / "docker/module_utils"))


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


def run_module(path: str, arguments: dict[str, Any], **environment: str) -> dict[str, Any]:
    """Run the module ``roles/<path>`` as Ansible does, a program with its arguments on standard input."""
    done = subprocess.run(
        [sys.executable, ROLES / path],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
