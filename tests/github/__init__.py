"""A stand-in for GitHub: its web flow for OAuth apps, and the part of its REST API that a JupyterHub asks.

What it answers is what GitHub documents (docs.github.com: «Authorizing OAuth apps», the two pages on troubleshooting
its errors, «Scopes for OAuth apps», «Rate limits for the REST API», and the REST reference of users, organization
members, teams and team members).  What GitHub knows is in `state.GitHub`, and nothing there knows of HTTP.

    with running(github) as url:            # in a thread of a test; afterwards connections are refused, the state stays
    python -m github --port 9000            # a process, with tests/ on Python's path; ruled over `/_control/`

A Hub takes its URL for that of a GitHub Enterprise Server.
"""

from github.server import running
from github.state import GitHub

__all__ = ["GitHub", "running"]
