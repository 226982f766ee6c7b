"""Entries of `pip` and `apt` that environments of other hubs have; wrong ones are rows of tests/settings/cases.yml."""

from __future__ import annotations

import pytest
from project import IMAGES

from plugins.module_utils.rules.packages import wrong_package, wrong_requirement

REQUIREMENTS = """
geopandas
rasterio==1.4.3
dask[array,dataframe] >= 2026.1, < 2027
numpy (>=2)
torch==2.9.0+cpu
zope.interface
ruamel.yaml
ruamel.yaml[jinja2]>=0.18
jaraco.text
config.toml
scipy~=1.16.0 ; python_version >= "3.13" and sys_platform == 'linux'
ours @ git+https://git.example.org/team/ours@v1.2
ours @ https://files.example.org/ours-1.0-py3-none-any.whl#sha256=ab12
wheel @ file:///usr/share/python-wheels/wheel-0.46.1-py3-none-any.whl
git+ssh://git@git.example.org/team/ours.git
https://files.example.org/ours-1.0.tar.gz
six==1.17.0 --hash=sha256:4721f391
attrs  # of the plots
"""
# apt-get takes patterns of versions, too.
PACKAGES = """
gcc g++ libc6:i386 libpq-dev=17.2-1+b1 gdal-bin/trixie-backports r-cran-dplyr
libpq-dev=17.* libc6=2.4?-* openssl:i386=1:3.5~rc1+dfsg-*
"""
PATHS = r"""
~/own dist/own.whl file:own.whl .. C:\own.whl own.whl own.tar.gz own.tar.bz2 own.zip
environment.yml requirements.txt requirements-dev.txt dev-requirements.txt pyproject.toml
"""


@pytest.mark.parametrize("entry", REQUIREMENTS.strip().splitlines())
def test_a_requirement_is_accepted(entry: str) -> None:
    assert wrong_requirement(entry) is None


def test_the_locks_of_our_own_images_are_requirements() -> None:
    lines = (IMAGES / "datascience/requirements.txt").read_text().replace("\\\n", "").splitlines()
    entries = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(entries) > 30
    assert [entry for entry in entries if wrong_requirement(entry)] == []


@pytest.mark.parametrize("entry", PACKAGES.split())
def test_a_name_of_a_debian_package_is_accepted(entry: str) -> None:
    assert wrong_package(entry) is None


@pytest.mark.parametrize("entry", ["numpy\npandas", "numpy, pandas", "a b c"])
def test_several_in_one_entry_become_a_list(entry: str) -> None:
    what, fix = wrong_requirement(entry) or ("", "")
    assert "packages in one entry" in what
    assert fix.startswith("write them as a list: [")


@pytest.mark.parametrize("entry", PATHS.split())
def test_a_path_is_refused(entry: str) -> None:
    assert (wrong_requirement(entry) or ("",))[0].startswith("is a path")
