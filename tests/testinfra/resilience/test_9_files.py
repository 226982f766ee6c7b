"""docs/what-a-run-does.md lists every file that a deployment leaves on a machine."""

from __future__ import annotations

from documented_files import undocumented
from testinfra.host import Host


def test_every_file_is_documented(host: Host) -> None:
    assert undocumented(host, least=12) == []
