"""What make passes on to the programs that it runs (with stand-ins for them)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from project import PROJECT

# `python -m venv` makes these programs, which write down their certificates.
PYTHON = """#!/bin/sh
[ "$1" = -m ] || exit 0
mkdir -p .venv/bin && cp pip uv ansible-playbook .venv/bin/
"""
PIP = """#!/bin/sh
if [ "$1" = config ]; then [ -e cert ] && cat cert; exit; fi
echo "pip $PIP_CERT" >>calls
"""
UV = '#!/bin/sh\necho "uv $UV_SYSTEM_CERTS" >>calls\n'
ANSIBLE = '#!/bin/sh\necho "ansible $ANSIBLE_CONFIG" >>calls\n'
STORE = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    for name in ("images/base/uv.txt", "requirements/run.txt", "inventory/local.yml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shutil.copy(PROJECT / "Makefile", folder)
    for name, text in {"python": PYTHON, "pip": PIP, "uv": UV, "ansible-playbook": ANSIBLE}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def calls(folder: Path, **given: str) -> list[str]:
    ours = ("SSL_CERT_FILE", "PIP_CERT", "UV_SYSTEM_CERTS", "ANSIBLE_CONFIG", "MAKEFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    make = ["make", "--silent", "deploy", "PYTHON=./python"]
    # As on a machine with a store, whether this one has it or not.
    subprocess.run([*make, f"SYSTEM_CERTS={STORE}"], cwd=folder, env={**environment, **given}, check=True, timeout=30)
    return (folder / "calls").read_text().splitlines()


def test_certificates_are_those_of_the_system(folder: Path) -> None:
    assert calls(folder) == [f"pip {STORE}", "uv true", f"ansible {folder}/ansible.cfg"]


@pytest.mark.parametrize(
    ("given", "pip", "uv"),
    [
        ({"SSL_CERT_FILE": "/of/openssl.pem"}, "/of/openssl.pem", "true"),
        ({"PIP_CERT": "/of/pip.pem", "SSL_CERT_FILE": "/of/openssl.pem"}, "/of/pip.pem", "true"),
        ({"UV_SYSTEM_CERTS": "false"}, STORE, "false"),
    ],
)
def test_what_the_operator_set_counts(folder: Path, given: dict[str, str], pip: str, uv: str) -> None:
    assert calls(folder, ANSIBLE_CONFIG="/mine", **given) == [f"pip {pip}", f"uv {uv}", "ansible /mine"]


def test_pips_own_configuration_counts(folder: Path) -> None:
    (folder / "cert").write_text("/of/pip.conf.pem")
    assert calls(folder)[0] == "pip /of/pip.conf.pem"
    (folder / ".venv/bin/uv").unlink()
    assert calls(folder, PIP_CERT="/of/pip.pem")[-3] == "pip /of/pip.pem"
