"""Format results as Markdown tables, and write them into docs/bench.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from .unchanged import MANY

DOCS = Path(__file__).parents[1] / "docs/bench.md"


def p95(values: list[float]) -> float:
    """Return the 95th percentile; with few values it is close to the largest."""
    return quantiles(values, n=20, method="inclusive")[18] if len(values) > 1 else values[0]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, with the first column aligned left, the others right."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---", *["--:"] * (len(lines[0]) - 1)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine(machine: dict[str, str]) -> str:
    return table(["machine", ""], machine.items())


def _when(title: str, machine: dict[str, str]) -> str:
    """Figures of one part (such as `bench/run playbook`) may be from another day than the others."""
    return table([title, ""], [[key, machine[key]] for key in ("date", "load before", "this project")])


Starts = dict[str, list[dict[str, float]]]
Seconds = dict[str, list[float]]
Runs = dict[str, list[list[float]]]


def _seconds(starts: Starts, title: str, key: str = "start_s") -> list[float]:
    return [durations[key] for durations in starts[title]]


def _ratio(starts: Starts, title: str, baseline: str) -> float:
    return median(_seconds(starts, title)) / median(_seconds(starts, baseline))


def _starts(starts: Starts) -> str:
    rows = [
        [
            title,
            f"{median(_seconds(starts, title)):.2f} s",
            f"{p95(_seconds(starts, title)):.2f} s",
            f"{_ratio(starts, title, 'ours, bare'):.2f}",
            f"{_ratio(starts, title, 'stock, by its Hub'):.2f}",
            f"{median(_seconds(starts, title, 'cpu_s')):.2f} s",
            f"{median(_seconds(starts, title, 'stop_s')):.2f} s",
        ]
        for title in starts
    ]
    head = [f"start to ready, {len(starts['floor'])} of each", "p50", "p95", "x ours, bare", "x stock"]
    return table([*head, "CPU time", "stop"], rows)


def _last(runs: list[list[float]]) -> float:
    return float(median(max(run) for run in runs))


def _simultaneous(found: dict[int, Runs]) -> str:
    def row(users: int, title: str, runs: Runs) -> list[str]:
        every = [seconds for run in runs[title] for seconds in run]
        last = _last(runs[title])
        times = f"{_last(runs['stock']) / last:.2f}"
        return [f"{users}, {title}", f"{median(every):.1f} s", f"{p95(every):.1f} s", f"{last:.1f} s", times]

    rows = [row(users, title, runs) for users, runs in found.items() for title in runs]
    return table(["concurrent starts, two rounds", "p50", "p95", "the last one", "stock / this"], rows)


def _slower(found: Seconds, disturbance: str) -> float:
    # The median of the pairs' ratios, as each start has its own comparison just before.
    pairs = zip(found[disturbance], found[f"before {disturbance}"], strict=True)
    return float(median(meanwhile / before for meanwhile, before in pairs))


def _disturbed(found: dict[str, Seconds]) -> str:
    rows = [
        [
            f"{title}, during {disturbance}",
            f"{median(found[title][f'before {disturbance}']):.2f} s",
            f"{median(found[title][disturbance]):.2f} s",
            f"{_slower(found[title], disturbance):.2f}",
        ]
        for title in found
        for disturbance in found[title]
        if not disturbance.startswith("before")
    ]
    return table(["another user's start", "before", "meanwhile", "ratio"], rows)


def _latencies(found: dict[str, Seconds]) -> str:
    rows = [
        [
            attack,
            f"{1000 * median(cells['before']):.0f} ms",
            f"{1000 * median(cells['meanwhile']):.0f} ms",
            f"{_cell_ratio(cells):.2f}",
            f"{1000 * p95(cells['meanwhile']):.0f} ms",
            f"{1000 * p95(cells['pages']):.0f} ms",
        ]
        for attack, cells in found.items()
    ]
    return table(["another user's cell", "before", "meanwhile", "ratio", "p95", "p95 of a Hub page"], rows)


def _cell_ratio(cells: Seconds) -> float:
    return median(cells["meanwhile"]) / median(cells["before"])


def _memory(memory: dict[str, float]) -> str:
    return table(["memory (PSS)", "MB"], ([title, f"{value:.0f}"] for title, value in memory.items()))


def _images(images: list[dict[str, Any]]) -> str:
    rows = [
        [row["image"], f"{row['mb']:.0f}", f"{row['adds_mb']:.0f}", row["parent"] or "-"]
        for row in images
    ]  # fmt: skip
    disk = sum(row["adds_mb"] for row in images if row["image"] != "stock")
    rows.append(["all except stock, layers counted once", f"{disk:.0f}", "", ""])
    return table(["image", "MB", "adds", "to"], rows)


def _first_parts(first: dict[str, Any]) -> dict[str, float]:
    images = {f"building {name}": seconds for name, seconds in first["images_s"].items()}
    return {**images, "the run with all images present": first["rest_s"]}


def _first_ratio(first: dict[str, Any]) -> float:
    return float(first["first_s"]) / sum(_first_parts(first).values())


def _first_run(first: dict[str, Any]) -> str:
    parts = _first_parts(first)
    rows = [[title, f"{seconds:.0f} s"] for title, seconds in parts.items()]
    rows.append(["sum of the parts", f"{sum(parts.values()):.0f} s"])
    rows.append(["first run, all images missing", f"{first['first_s']:.0f} s"])
    return table(["first run", ""], [*rows, ["first run / sum of the parts", f"{_first_ratio(first):.2f}"]])


def _p50(runs: list[dict[str, Any]], key: str = "seconds") -> float:
    return float(median(run[key] for run in runs))


def _unchanged(unchanged: dict[str, list[dict[str, Any]]]) -> str:
    columns = [unchanged["here"], unchanged["over SSH"]]
    share = [{role: median(run["roles"].get(role, 0) for run in runs) for role in runs[0]["roles"]} for runs in columns]

    def row(title: str, value: Callable[[list[dict[str, Any]]], str]) -> list[str]:
        return [title, *map(value, columns)]

    rows = [
        row("whole run, including Ansible's start", lambda runs: f"{_p50(runs):.1f} s"),
        row("slowest", lambda runs: f"{max(run['seconds'] for run in runs):.1f} s"),
        row("CPU time, on this machine", lambda runs: f"{_p50(runs, 'cpu_s'):.1f} s"),
        row("tasks", lambda runs: str(max(run["tasks"] for run in runs))),
    ]
    rows += [
        [role, *(f"{each.get(role, 0):.1f} s" for each in share)]
        for role, _ in sorted(share[0].items(), key=lambda item: -item[1])
    ]
    return table([f"nothing to change, {len(columns[0])} runs each", "here", "over SSH"], rows)


def _compared_with_none(unchanged: dict[str, list[dict[str, Any]]], heading: str, other: str, title: str) -> str:
    rows = [
        [
            name,
            f"{_p50(unchanged[key]):.1f} s",
            f"{_p50(unchanged[key], 'cpu_s'):.1f} s",
            f"{_p50(unchanged[key]) / _p50(unchanged['here']):.2f}",
        ]
        for key, name in {"here": "none", other: title}.items()
    ]
    return table([heading, "p50", "CPU time", "x none"], rows)


def _documents(documents: dict[str, Any]) -> str:
    cuts, kills = documents["cut_off"], documents["killed"]

    def count(rounds: list[dict[str, Any]], fault: Callable[[dict[str, Any]], bool | int]) -> str:
        return str(sum(fault(seen) for seen in rounds))

    rows = [
        [f"rounds with a page cut off for {documents['cut_s']} s, in {documents['servers']} servers", str(len(cuts))],
        ["cells that are missing, or lack an edit", count(cuts, lambda seen: len(seen["missing"]))],
        ["cells that are doubled", count(cuts, lambda seen: seen["doubled"])],
        ["rounds after which pages and file differ", count(cuts, lambda seen: not seen["same"])],
        ["rounds in which JupyterLab would have asked what to do", count(cuts, lambda seen: bool(seen["dialogs"]))],
        [f"servers killed while two had typed without pause for {documents['typing_s']} s", str(len(kills))],
        ["not in the file after the kill, at most", f"{max(seen['unsaved_s'] for seen in kills):.1f} s of typing"],
        ["lost when it is opened again, at most", f"{max(seen['lost_s'] for seen in kills):.1f} s of typing"],
        ["rounds in which pages that came back lack or double it", count(kills, lambda seen: not seen["returned"])],
    ]
    return table(["shared documents", ""], rows)


TABLES: dict[str, Callable[[Any], str]] = {
    "starts": _starts,
    "simultaneous": _simultaneous,
    "disturbed": _disturbed,
    "latencies": _latencies,
    "memory": _memory,
    "images": _images,
    "first_run": _first_run,
    "unchanged": _unchanged,
    "documents": _documents,
}

Budget = tuple[str, float, float | None]


def _budgets(heading: str, budgets: list[Budget]) -> str:
    """Return a table of limits and measured values."""
    return table(
        [heading, "at most", "measured", ""],
        [
            [title, f"{limit:g}", "-", "not in this run"]
            if measured is None
            else [title, f"{limit:.3g}", f"{measured:.3g}", "met" if measured <= limit else "**missed**"]
            for title, limit, measured in budgets
        ],
    )


def _unchanged_budgets(unchanged: dict[str, list[dict[str, Any]]]) -> list[Budget]:
    return [
        ("tasks", 25, max(run["tasks"] for run in unchanged["here"])),
        ("seconds, on this machine", 5, _p50(unchanged["here"])),
        ("seconds, over SSH", 7, _p50(unchanged["over SSH"])),
        (
            f"with / without {MANY} users' volumes and networks",
            1.1,
            _p50(unchanged["many users"]) / _p50(unchanged["here"]),
        ),
    ]


def _other_budgets(results: dict[str, Any]) -> list[Budget]:
    starts, memory = results["starts"], results["memory"]
    [environment] = [row["mb"] for row in results["images"] if row["image"] == "env-base"]
    return [
        ("MB of Hub and proxy together (PSS)", 160, memory["our Hub"] + memory["our proxy"]),
        ("MB of an idle server (PSS)", 80, memory["our idle server"]),
        ("MB of the image env-base", 500, environment),
        ("first run / sum of its parts", 1.2, _first_ratio(results["first_run"]) if "first_run" in results else None),
        ("start by our Hub / bare start of the same container", 1.3, _ratio(starts, "ours, by our Hub", "ours, bare")),
        (
            "start by our Hub / start by a stock Hub",
            1 / 2.5,
            _ratio(starts, "ours, by our Hub", "stock, by its Hub"),
        ),
        *(
            (f"the last of {users} concurrent starts / stock", 1 / 2.3, _last(runs["ours"]) / _last(runs["stock"]))
            for users, runs in results["simultaneous"].items()
        ),
        *(
            (f"another user's start during {each} / before", 1.2, _slower(results["disturbed"]["ours"], each))
            for each in results["disturbed"]["ours"]
            if not each.startswith("before")
        ),
        *(
            (f"another user's cell during a {attack} / before", 2, _cell_ratio(cells))
            for attack, cells in results["latencies"].items()
        ),
    ]


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Return a table for each kind of result, and those of the budgets."""
    found = {kind: TABLES[kind](results[kind]) for kind in TABLES if kind in results}
    if "unchanged" in results:
        found["unchanged_machine"] = _when("runs of the playbook", results["machine"])
        found["unchanged_budgets"] = _budgets("a run that changes nothing", _unchanged_budgets(results["unchanged"]))
        many = f"{MANY} volumes and {MANY} networks"
        found["many_users"] = _compared_with_none(results["unchanged"], "users' objects", "many users", many)
        found["one_setting"] = _compared_with_none(
            results["unchanged"], "changed settings of the Hub", "one setting", "one"
        )
    if "documents" in results:
        found["documents_machine"] = _when("shared documents", results["machine"])
    if "starts" in results:
        found["machine"] = _machine(results["machine"])
        found["budgets"] = _budgets("figure", _other_budgets(results))
    return found


def write_docs(found: dict[str, str]) -> None:
    """Replace the tables in docs/bench.md, between the markers with their names."""
    text = DOCS.read_text()
    for kind, markdown in found.items():
        before, begin, rest = text.partition(f"<!-- bench: {kind} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise LookupError(f"{DOCS} has no markers for {kind}")
        text = f"{before}{begin}\n{markdown}\n{end}{after}"
    DOCS.write_text(text)
