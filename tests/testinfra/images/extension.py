"""Runs in a container of an environment with jupyterlab-git: what its panel asks for, in a server as the Hub starts it.

Prints whether JupyterLab gets the front end, and what the server part says of a repository in the home.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, "/opt/jupyter/libexec")
import try_server  # type: ignore[import-not-found]


def ask(method: str, path: str, **given: Any) -> requests.Response:
    """Send a request to the server and return its answer, which must be a success."""
    url = f"http://{try_server.HOST}{try_server.BASE}{path}"
    answer = requests.request(method, url, headers=try_server.AUTHORIZATION, json=given, timeout=60)
    answer.raise_for_status()
    return answer


def use() -> None:
    """Stage and commit a file, and read the history."""
    try_server.wait_for_server(60)
    subprocess.run(["git", "init", "--quiet", "repo"], check=True)
    for name, value in (("name", "me"), ("email", "me@example.org")):
        subprocess.run(["git", "-C", "repo", "config", f"user.{name}", value], check=True)
    Path("repo/a.txt").write_text("text")
    ask("POST", "git/repo/add", add_all=False, filename=["a.txt"])
    ask("POST", "git/repo/commit", commit_msg="first words")
    said = [each["commit_msg"] for each in ask("POST", "git/repo/log", history_count=5).json()["commits"]]
    print("@jupyterlab/git" in ask("GET", "lab").text, said)


try_server.use = use
try_server.main()
