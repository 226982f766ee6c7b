"""Notebooks that several people edit in JupyterLab: made, opened, typed into, and what is in the file."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from e2e.client import Server
from playwright.sync_api import Locator, Page, expect

SEEN_S = 2
"""After this time, everybody sees what somebody types."""


def notebook(server: Server, *sources: str) -> str:
    """Make a notebook with these cells; return its name."""
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    name = f"{token_hex(3)}.ipynb"
    server.request("PUT", f"api/contents/{name}", json={"type": "notebook", "format": "json", "content": content})
    return name


def saved(server: Server, name: str) -> list[str]:
    """Return the cells in the file."""
    content = server.request("GET", f"api/contents/{name}?type=notebook&content=1").json()["content"]
    return ["".join(cell["source"]) for cell in content["cells"]]


def show(page: Page, server_url: str, name: str) -> None:
    """Open a notebook in JupyterLab, and wait for its kernel."""
    # The layout belongs to the server, so it may have what others have open.
    page.goto(f"{server_url}lab/tree/{name}?reset")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()


def cell(page: Page, number: int) -> Locator:
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell .cm-content").nth(number)


def write(page: Page, number: int, text: str) -> None:
    """Type at the end of a cell."""
    cell(page, number).click()
    page.keyboard.press("Control+End")
    page.keyboard.type(text)


def others(page: Page, username: str) -> Locator:
    """Return the flag with somebody's name at their cursor."""
    return page.locator(".jp-remote-userFlag-name", has_text=username).first
