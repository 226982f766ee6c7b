"""Rules for `hub_shared_folders`: folders in the servers of those who may use them."""

from __future__ import annotations

from typing import Any

from ..mounts import SHARED, folder, overlap, wrong_source
from ..problems import Finding, did_you_mean, shown
from ..registry import Findings, Rules
from .entries import Entry, numbered, wrong_people, wrong_slugs
from .folders import READ_FOR_MOUNTS, protected_by_settings

rule = Rules()

SETTING = "hub_shared_folders"
WRITERS = ("groups", "users", "workspaces")
READERS = ("read_groups", "read_users", "read_all")


def is_writable(entry: Entry) -> bool:
    """Return whether anybody may write to a shared folder."""
    return any(entry.get(key) for key in WRITERS)


@rule(SETTING)
def slugs(folders: list[Entry]) -> Findings:
    """Slugs become part of the names of volumes, and are what users see in their homes."""
    yield from wrong_slugs(SETTING, folders, "shared folder")


@rule(SETTING, "hub_authenticator")
def people(folders: list[Entry], authenticator: str) -> Findings:
    """A folder for nobody, or a name that matches nobody, is a mistake."""
    for about, entry in numbered(SETTING, folders):
        if not any(entry.get(key) for key in (*WRITERS, *READERS)):
            advice = f"add {', '.join((*WRITERS, *READERS[:-1]))}, or read_all: true"
            yield Finding("is for nobody", advice, about)
        github = authenticator == "github"
        yield from wrong_people(about, entry, ("groups", "read_groups"), ("users", "read_users"), github=github)


@rule(SETTING, "hub_workspaces")
def workspaces(folders: list[Entry], declared: list[Entry]) -> Findings:
    """By their slugs."""
    known = [str(each.get("slug")) for each in declared]
    for about, entry in numbered(SETTING, folders):
        for slug in entry.get("workspaces") or []:
            if slug not in known:
                others = f"choose from: {', '.join(known)}" if known else "declare it there, or remove it"
                advice = did_you_mean(str(slug), known, others)
                yield Finding(f"workspaces: is not in hub_workspaces: {shown(slug)}", advice, about)


@rule(SETTING, *READ_FOR_MOUNTS)
def sources(folders: list[Entry], *of_machine: Any) -> Findings:
    """As for mounts of environments: nothing that gives servers control of the machine, or others' files."""
    closed = protected_by_settings(*of_machine)
    named: dict[str, str] = {}
    for about, entry in numbered(SETTING, folders):
        if (source := entry.get("source")) is None:
            continue
        if not source.startswith("/"):
            advice = "write a folder of the machine, such as /srv/course; without source, the Hub makes a volume"
            yield Finding(f"source: is not an absolute path: {shown(source)}", advice, about)
        elif wrong := wrong_source(source, closed, read_only=not is_writable(entry)):
            yield Finding(f"source: {wrong[0]}", wrong[1], about)
        elif other := named.get(folder(source)):
            what = f"source: {shown(source)} is that of {other}, too, so it would not be clear who may write there"
            yield Finding(what, "declare it once, with all who may read and write", about)
        named.setdefault(folder(source), str(entry.get("slug")))


@rule("images_environments", SETTING)
def places(environments: list[Entry], folders: list[Entry]) -> Findings:
    """Where servers have the folders, an environment has nothing else."""
    for about, entry in numbered("images_environments", environments) if folders else ():
        targets = [("mounts", mount["target"]) for mount in entry.get("mounts") or []]
        for key, path in (*targets, ("home", entry.get("home"))):
            if path and overlap(path, SHARED):
                what = f"{key}: {shown(path)} is where servers have the folders of hub_shared_folders, {SHARED}"
                yield Finding(what, "choose another one, such as /data", about)
