"""Pages ask for changes only while they are visible, tried in the Node that comes with Playwright."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import playwright
import pytest
from jupyterhub_ansible.spawner.start_page import TEMPLATES
from project import IMAGES

NODE = Path(playwright.__file__).parent / "driver/node"
BROWSER = """
const log = [];
let changed = () => {};
globalThis.document = {
  visibilityState: "visible",
  addEventListener: (_, listener) => { changed = listener; },
  getElementById: () => ({ replaceChildren() {} }),
  createElement: () => ({ style: {}, setAttribute() {}, append() {}, replaceChildren() {} }),
  body: { appendChild() {} },
};
globalThis.window = { jhdata: { base_url: "/hub/" } };
const show = (state) => { document.visibilityState = state; changed(); };
let pending;
globalThis.fetch = (path, { signal }) => {
  log.push("asks");
  return new Promise((resolve, reject) => {
    let answered = false;
    pending = (status, headers = {}) => {
      answered = true;
      resolve({ status, headers: new Headers(headers), json: async () => ({ messages: [] }) });
    };
    signal.addEventListener("abort", () => { if (!answered) log.push("aborted"); reject(signal.reason); });
  });
};
globalThis.setTimeout = (resolve, ms) => log.push(`waits ${ms / 1000}`);
const tick = async () => { for (let i = 0; i < 20; i++) await new Promise(setImmediate); };
"""
STEPS = """
await tick();
pending(200); await tick();
log.push("hidden"); show("hidden"); await tick();
log.push("visible"); show("visible"); await tick();
pending(429, { "Retry-After": "10" }); await tick();
log.push("hidden"); show("hidden"); await tick();
log.push("visible"); show("visible"); await tick();
pending(0); await tick();
log.push("hidden"); show("hidden"); await tick();
log.push("visible"); show("visible"); await tick();
console.log(JSON.stringify(log));
process.exit(0);
"""
LAB = """
const options = { hubPrefix: "/hub/", getOption: (name) => options[name] };
const [made] = Object.values(window._JUPYTERLAB);
const module = { PageConfig: options };
made.init({ "@jupyterlab/coreutils": { "1.0.0": { get: async () => () => module } } });
const plugin = (await made.get())().default;
plugin.activate({ started: Promise.resolve() });
"""
PAGES = {
    "the Hub": (TEMPLATES / "messages.js").read_text().replace(
        '{% include "long_poll.js" %}', (TEMPLATES / "long_poll.js").read_text()
    ),
    "JupyterLab": (IMAGES / "singleuser/labextensions/jupyterhub-messages/static/messages.js").read_text() + LAB,
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_only_visible_pages_ask_and_at_once_when_they_become_visible(page: str) -> None:
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", BROWSER + PAGES[page] + STEPS],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: list[Any] = json.loads(done.stdout)
    assert said == [
        *("asks", "asks"),
        *("hidden", "aborted"),
        *("visible", "asks", "waits 10"),
        *("hidden", "visible", "asks", "waits 60"),
        *("hidden", "visible", "asks"),
    ]
