"""Paths of the project, and how a test runs one of its Ansible modules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
ROLES, IMAGES = PROJECT / "roles", PROJECT / "images"


def run_module(name: str, arguments: dict[str, Any], **environment: str) -> dict[str, Any]:
    """Run a module of `plugins/modules/` as Ansible does: a program that reads its arguments from standard input."""
    done = subprocess.run(
        [sys.executable, "-m", f"plugins.modules.{name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
