"""HTML files may be framed by the server's own pages, and are always in a sandbox."""

import pytest
from jupyterhub_lab.framing import policy


@pytest.mark.parametrize(
    ("of_the_server", "ancestors"),
    [
        ("frame-ancestors 'none'", "frame-ancestors 'self'"),
        ("frame-ancestors https://lms.example", "frame-ancestors https://lms.example"),
        ("frame-ancestors 'self'; report-uri /x", "frame-ancestors 'self'"),
    ],
)
def test_policy(of_the_server: str, ancestors: str) -> None:
    directives = policy(of_the_server).split("; ")
    assert ancestors in directives
    [sandbox] = [each.split() for each in directives if each.startswith("sandbox")]
    assert "allow-scripts" in sandbox
    # The servers of all users have the same origin.
    assert {"allow-same-origin", "allow-top-navigation", "allow-forms"} & set(sandbox) == set()
