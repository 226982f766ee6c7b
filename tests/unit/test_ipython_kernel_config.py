"""What `!pip` finds in notebooks of a user's own environments: IPython's configuration, run as it runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from project import IMAGES

CONFIG = IMAGES / "singleuser/ipython_kernel_config.py"
SHOWN = f"import os, runpy; runpy.run_path({str(CONFIG)!r}); print(os.environ['PATH'], os.environ.get('VIRTUAL_ENV'))"


def seen(prefix: Path, virtual_env: str) -> list[str]:
    """PATH and VIRTUAL_ENV of a kernel in this prefix that was started by a server with this VIRTUAL_ENV."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.prefix = {str(prefix)!r}; {SHOWN}"],
        env={"PATH": "/envs/base/bin:/usr/bin", "VIRTUAL_ENV": virtual_env},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


def test_a_kernel_of_an_environment_of_one_s_own_has_its_own_commands(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    assert seen(tmp_path, "/envs/base") == [f"{tmp_path}/bin:/envs/base/bin:/usr/bin", str(tmp_path)]


def test_a_kernel_of_conda_has_no_virtual_environment(tmp_path: Path) -> None:
    assert seen(tmp_path, "/envs/base") == [f"{tmp_path}/bin:/envs/base/bin:/usr/bin", "None"]


@pytest.mark.parametrize("name", ["pyvenv.cfg", "other"])
def test_the_image_s_kernel_keeps_what_it_has(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert seen(tmp_path, str(tmp_path)) == ["/envs/base/bin:/usr/bin", str(tmp_path)]
