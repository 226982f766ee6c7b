"""Benchmark this project against stock JupyterHub, on this machine, in one run."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from e2e.deployment import docker

from . import documents, first_run, hubs, neighbours, report, sizes, unchanged
from .project import ARTEFACTS, NAME, PROJECT, hub_settings, playbook, remove
from .starts import Bare, ByHub, Start, interleaved, simultaneous

IDLE_S = 15
"""Seconds to wait until a server that has just started is idle."""


def say(message: str) -> None:
    """Report progress; standard output is for the tables."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def machine() -> dict[str, str]:
    """Return the properties of the machine that figures depend on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ": unknown"
    )
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": f"{len(os.sched_getaffinity(0))}, {cpu.partition(':')[2].strip()}",
        "memory": f"{memory_gb:.0f} GB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": platform.release(),
        "engine": docker("version", "--format", "{{.Server.Version}}"),
        "ansible-core": version("ansible-core"),
        "Python": platform.python_version(),
        "this project": commit.stdout.strip() or "not a git clone",
    }


def compare(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Measure start time and memory of our Hub and of a stock one, and how users affect each other."""
    settings = hub_settings()
    ours, stock = hubs.ours(), hubs.stock(settings["hub_server_memory_mb"], settings["hub_server_cpus"])
    both = {"ours": ours, "stock": stock}
    for hub in both.values():
        ByHub(hub, hub.log_in("model")).start()
    say(f"memory: waiting {IDLE_S} s until servers are idle")
    time.sleep(IDLE_S)
    results["memory"] = {
        "our Hub": sizes.memory_mb(f"{NAME}-hub"),
        "our proxy": sizes.memory_mb(f"{NAME}-proxy"),
        "our idle server": sizes.memory_mb(ours.container("model")),
        "stock Hub": sizes.memory_mb(f"{hubs.STOCK}-hub"),
        "stock idle server": sizes.memory_mb(stock.container("model")),
    }
    variants: dict[str, Start] = {
        "floor": Bare("floor", ours.container("model"), floor=True),
        "ours, bare": Bare("ours", ours.container("model")),
        "ours, by our Hub": ByHub(ours, ours.log_in("single")),
        "stock, bare": Bare("stock", stock.container("model")),
        "stock, by its Hub": ByHub(stock, stock.log_in("single")),
    }
    starts = interleaved(variants, options.repetitions, say)
    results["starts"] = {title: [dataclasses.asdict(took) for took in every] for title, every in starts.items()}
    for hub in both.values():
        hub.log_in("model").server().stop()
    results["simultaneous"] = {}
    for users in options.users:
        many: dict[str, list[list[float]]] = {title: [] for title in both}
        for _ in range(2):
            for title, hub in both.items():
                say(f"{users} starts at once: {title}")
                many[title].append(simultaneous(hub, users))
        results["simultaneous"][users] = many
    results["disturbed"] = neighbours.disturbed_starts(both, max(1, options.repetitions // 2), say)
    results["latencies"] = neighbours.latencies(ours, settings["hub_server_memory_mb"], say)
    results["memory"]["our Hub, after all starts"] = sizes.memory_mb(f"{NAME}-hub")
    results["memory"]["our proxy, after all starts"] = sizes.memory_mb(f"{NAME}-proxy")


def measure(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Deploy the Hub and run the benchmarks."""
    results["machine"] = machine()
    arguments: list[str] = []
    if options.first_run:
        results["first_run"], arguments = first_run.measure(say)
    else:
        say("deploying the bench's own Hub")
        playbook(*arguments)
    if options.part == "documents":
        results["documents"] = documents.measure(say)
        return
    if options.part != "playbook":
        say("building the stock user's image")
        hubs.build_stock_image()
        results["images"] = sizes.images()
        compare(options, results)
    if options.part != "servers":
        results["unchanged"] = unchanged.measure(options.runs, arguments, say)


def main() -> None:
    """Run the benchmarks, clean up, and print the tables."""
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument(
        "part",
        nargs="?",
        choices=["all", "servers", "playbook", "documents"],
        default="all",
        help="all (the default: the next two), only users' servers, only playbook runs that change nothing or one "
        "setting, or whether shared documents lose anything",
    )
    parser.add_argument("--repetitions", type=int, default=10, help="starts of each kind (default: 10)")
    parser.add_argument(
        "--users", type=int, nargs="*", default=[10, 20], help="servers started at once (default: 10, then 20)"
    )
    parser.add_argument("--runs", type=int, default=3, help="playbook runs without a change (default: 3)")
    parser.add_argument(
        "--first-run", action="store_true", help="also build every image twice: about 10 minutes and 10 GB more"
    )
    parser.add_argument("--keep-images", action="store_true", help="keep the images for the next benchmark")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/bench.md")
    options = parser.parse_args()
    if os.geteuid():
        parser.error("run it as root, as it reads the memory of containers' processes")
    # So that `finally` cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    ARTEFACTS.mkdir(parents=True)
    remove(images=False)
    results: dict[str, Any] = {}
    try:
        measure(options, results)
    finally:
        # Even after a failure, keep the results so far.
        ARTEFACTS.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
        say("cleaning up")
        remove(images=not options.keep_images)
    found = report.tables(results)
    print("\n".join(found.values()))
    if options.write_docs:
        report.write_docs(found)


if __name__ == "__main__":
    main()
