"""The house is in order: nothing stands twice, roles hand over public facts only, and no file is too long."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from project import PROJECT, ROLES

# Lines that two files may share: as many that say something stand nowhere twice in a row.
SHARED_LINES = 15
EXCEPTIONS = {
    "compose/Dockerfile": "Compose builds each service by itself, which finds no image of another one",
    "molecule/hub/molecule.yml": "Molecule finds a scenario by this file, and these two are prepared alike",
}
# Written by tools from what is ours: locks with hashes, tables of other packages.
GENERATED = re.compile(r"(requirements|uv|dev|run)\.txt$|package-lock\.json$|traits\.json$")
LONGEST_PYTHON, LONGEST_TASKS = 300, 80
LONGER: dict[str, str] = {}
"""Files that may be longer, with the reason."""


@cache
def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [path for line in listed.splitlines() if (path := PROJECT / line).is_file() and not path.is_symlink()]


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def texts() -> dict[str, list[str]]:
    """The lines that say something, by file."""
    found = {}
    for path in tracked():
        if not GENERATED.search(path.name) and path.suffix not in (".svg", ".png"):
            found[name_of(path)] = [text for line in path.read_text().splitlines() if (text := line.strip())]
    return found


def test_no_file_is_tracked_twice() -> None:
    by_content = defaultdict(list)
    for path in tracked():
        if content := path.read_bytes().strip():
            by_content[hashlib.sha256(content).digest()].append(name_of(path))
    twice = [names for names in by_content.values() if len(names) > 1]
    assert [names for names in twice if not EXCEPTIONS.keys() & set(names)] == []


def test_no_lines_stand_twice() -> None:
    places: dict[int, set[str]] = defaultdict(set)
    for name, lines in texts().items():
        for start in range(len(lines) - SHARED_LINES + 1):
            places[hash(tuple(lines[start : start + SHARED_LINES]))].add(name)
    twice = {tuple(sorted(names)) for names in places.values() if len(names) > 1}
    assert [names for names in sorted(twice) if not EXCEPTIONS.keys() & set(names)] == []


# --- roles


def order() -> list[str]:
    roles: list[str] = yaml.safe_load((PROJECT / "playbooks/site.yml").read_text())[0]["roles"]
    # What all of them depend on.
    return ["jupyterhub", *roles]


def yaml_of(role: str) -> Iterator[tuple[str, str]]:
    for path in tracked():
        name = name_of(path)
        if name.startswith(f"roles/{role}/") and path.suffix in (".yml", ".j2") and "/meta/" not in name:
            # What a comment names is read by nobody.
            yield name, re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)


def public_names(role: str) -> set[str]:
    """Settings and facts of a role."""
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    facts = ROLES / role / "vars/main.yml"
    names = set(yaml.safe_load(facts.read_text()) or {}) if facts.exists() else set()
    for entry in specs.values():
        names |= set(entry.get("options") or {})
    return {name for name in names if not name.startswith("_")}


def test_no_role_reads_what_is_another_s_own() -> None:
    found = [
        f"{name}: {variable}"
        for role in order()
        for name, text in yaml_of(role)
        for variable in re.findall(r"\b__[a-z]\w+", text)
        if not variable.startswith(f"__{role}_") and variable != f"__{role}"
    ]
    assert sorted(set(found)) == []


@pytest.mark.parametrize("file", ["playbooks", "bin"])
def test_nobody_else_reads_what_is_a_role_s_own(file: str) -> None:
    pattern = re.compile(rf"\b__(?:{'|'.join(order())})_\w+")
    found = [
        f"{name}: {variable}"
        for path in tracked()
        if (name := name_of(path)).startswith(f"{file}/")
        for variable in pattern.findall(path.read_text())
    ]
    assert found == []


def test_no_role_reads_what_comes_after_it() -> None:
    """Preflight excepted, which reads the settings of all, and tells those before a role what they have to know."""
    roles = order()
    found = []
    for number, role in enumerate(roles):
        later = set().union(*(public_names(other) for other in roles[number + 1 :]))
        if role == "preflight":
            later = set()
        for name, text in yaml_of(role):
            found += [f"{name}: {word}" for word in sorted(later & set(re.findall(r"\b[a-z]\w+", text)))]
    assert found == []


# --- Python


def python() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def test_nothing_changes_where_python_looks_for_modules() -> None:
    found = [
        name_of(path)
        for path in python()
        if not name_of(path).startswith("tests/") and re.search(r"sys\.path\b(?!\[)", path.read_text())
    ]
    assert found == []


def imports(path: Path, root: Path) -> Iterator[Path]:
    """The files of a package that a file of it imports when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            base = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
            for candidate in (base, *(base / each.name for each in node.names)):
                for file in (candidate.with_suffix(".py"), candidate / "__init__.py"):
                    if file.is_file() and file.is_relative_to(root):
                        yield file


@pytest.mark.parametrize("root", ["images/hub/jupyterhub_ansible", "images/singleuser/idle", "plugins"])
def test_no_import_leads_back(root: str) -> None:
    folder = PROJECT / root
    graph = {path: set(imports(path, folder)) - {path} for path in python() if path.is_relative_to(folder)}

    def circle(path: Path, above: tuple[Path, ...]) -> list[str]:
        if path in above:
            return [name_of(each) for each in (*above[above.index(path) :], path)]
        if path in done:
            return []
        for other in graph.get(path, ()):
            if found := circle(other, (*above, path)):
                return found
        done.add(path)
        return []

    done: set[Path] = set()
    assert [found for path in graph if (found := circle(path, ()))] == []


# --- sizes


def code_lines(path: Path) -> int:
    """How many lines are code: no blank line, no comment, and of docstrings only the first line."""
    tree = ast.parse(path.read_text())
    documented = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else []:
            if (
                isinstance(each, ast.Expr)
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
            ):
                documented |= set(range(each.lineno + 1, (each.end_lineno or 0) + 1))
    lines = path.read_text().splitlines()
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in documented
        for number, line in enumerate(lines, 1)
    )


def test_python_files_are_short() -> None:
    found = {
        name_of(path): length
        for path in python()
        if not name_of(path).startswith("tests/") and (length := code_lines(path)) > LONGEST_PYTHON
    }
    assert {name: length for name, length in found.items() if name not in LONGER} == {}


def test_task_files_are_short() -> None:
    found = {
        name_of(path): length
        for path in tracked()
        if re.fullmatch(r"roles/\w+/tasks/\w+\.yml", name_of(path))
        and (length := len(path.read_text().splitlines())) > LONGEST_TASKS
    }
    assert {name: length for name, length in found.items() if name not in LONGER} == {}
