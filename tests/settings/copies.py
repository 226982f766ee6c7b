"""A copy of the project, for `make init` and the first run of Ansible after it."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from project import PROJECT
from settings.test_runs import PREFLIGHT

BIN = Path(sys.executable).parent
COPIED = (
    "Makefile",
    "ansible.cfg",
    "bin",
    "collections",
    "examples",
    "group_vars/local.yml",
    "inventory/local.yml",
    "inventory/group_vars",
)
INVENTORY = "inventory/production.yml"
HOST = "hub.team.dev"
# Stand-ins for a real machine.
HERE: dict[str, Any] = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "jupyterhub_name": "settings-tst",
    "jupyterhub_port": 18099,
    "network_users_subnet": "10.254.16.0/20",
    "preflight_disk_min_gb": 0,
    "preflight_memory_min_mb": 0,
    "hub_server_cpus": 1,
    "hub_server_memory_mb": 512,
}


class Copy:
    """A copy of what `make init` and a first run of Ansible read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            if (PROJECT / name).is_dir() and not (PROJECT / name).is_symlink():
                shutil.copytree(PROJECT / name, target, symlinks=True)
            else:
                shutil.copy(PROJECT / name, target, follow_symlinks=False)
        for name in ("roles", "plugins"):
            (folder / name).symlink_to(PROJECT / name)
        (folder / "preflight.yml").write_text(PREFLIGHT)

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def init(self, *more: str, host: str = HOST, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run bin.init in a fork of this process, which has already imported Ansible (settings.test_runs)."""
        command = ["bin.init", "--host", host, "--admin", "octocat", *more]
        variables = self.environment(**environment)
        with TemporaryFile("w+") as out, TemporaryFile("w+") as errors, Path(os.devnull).open() as nothing:
            child = os.fork()
            if not child:
                code = 1
                try:
                    for number, file in enumerate((nothing, out, errors)):
                        os.dup2(file.fileno(), number)
                    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(each, mode) for each, mode in enumerate("rww"))
                    os.chdir(self.folder)
                    os.environ.clear()
                    os.environ.update(variables)
                    sys.argv = command
                    # Import from the copy, not from the project.
                    sys.path.insert(0, str(self.folder))
                    sys.modules.pop("bin", None)
                    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
                    code = 0
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else bool(end.code)
                    print(end.code or "", file=sys.stderr)
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            said = []
            for file in (out, errors):
                file.seek(0)
                said.append(file.read())
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), *said)

    def environment(self, **more: str) -> dict[str, str]:
        known = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("ANSIBLE_", "GITHUB_", "MAKE")) or "CALLBACK" in key
        }
        return {**known, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", **more}

    def make(self, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `make init` with the existing environment instead of creating one."""
        return self.run("make", "--old-file=.venv/run.stamp", "init", *settings, **environment)

    def variables(self) -> dict[str, Any]:
        """Return what Ansible reads for the machine given to init."""
        shown = self.run("ansible-inventory", "-i", INVENTORY, "--host", HOST)
        variables: dict[str, Any] = json.loads(shown.stdout)
        variables["hub_github_client_secret"] = variables.pop("vault_hub_github_client_secret")
        return variables

    def preflight(self) -> subprocess.CompletedProcess[str]:
        return self.run("ansible-playbook", "-i", INVENTORY, "preflight.yml", "--check", "-e", json.dumps(HERE))

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
