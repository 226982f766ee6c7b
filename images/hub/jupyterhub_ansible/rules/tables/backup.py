"""Rules for the backup: where it goes, when, and that its key outlives the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..mounts import folder
from ..placeholders import is_placeholder
from ..problems import Finding, did_you_mean, shown
from ..registry import Findings, Rules
from ..secrets import weakness

rule = Rules()

PLAN, PASSWORD, CREDENTIALS = "backup_plan", "backup_password", "backup_credentials"
FORMS = "a folder (/mnt/backup/hub), sftp:user@host:/path, s3:https://host/bucket or rest:https://host/path"
KINDS = {
    "sftp": r"([\w.-]+@)?[\w.-]+:/?\S+|//([\w.-]+@)?[\w.-]+(:\d+)?/\S+",
    "s3": r"(https?://)?[\w.-]+(:\d+)?/\S+",
    "rest": r"https?://[\w.-]+(:\d+)?/\S*",
}
NEEDED = {"sftp": ("SSH_KEY", "SSH_KNOWN_HOSTS"), "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "rest": ()}
KNOWN = {
    "sftp": NEEDED["sftp"],
    "s3": (*NEEDED["s3"], "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"),
    "rest": ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"),
}
UNITS = ("hourly", "daily", "weekly", "monthly", "yearly")
PASSWORD_MIN = 16
# Where a repository would be lost with what it saves.
WITH_THE_ENGINE = ("/var/lib/docker", "/var/lib/containerd")
# None of them is a disk for backups, and most are gone after a reboot.
SYSTEM = re.compile(r"/(boot|dev|etc|proc|root|run|sys|tmp|usr|var)(/tmp|/lib|/log|/run)?|/(dev|proc|run|sys|tmp)/.*")


def kind(plan: Mapping[str, Any]) -> str:
    """Return the kind of the repository, "" for a folder and for none."""
    before, colon, _ = (plan.get("repository") or "").partition(":")
    return before if colon and not before.startswith("/") else ""


@rule(PLAN, "jupyterhub_root??", "docker_daemon_settings??")
def repository(plan: Mapping[str, Any], root: str | None, daemon: Mapping[str, Any] | None) -> Findings:
    """Restic would take any other word for a folder in its container, where it is lost."""
    value, about = plan.get("repository"), f"{PLAN}.repository"
    if value is None:
        if plan:
            yield Finding(f"has {min(plan)}, but no repository, so nothing would be saved", f"add repository: {FORMS}")
        return
    if is_placeholder(value):
        yield Finding(f"is still a placeholder: {shown(value)}", f"write {FORMS}", about)
    elif re.search(r"://[^/@\s]*:[^/@\s]*@", value):
        yield Finding(
            "has a password in it, which messages and the list of processes would show",
            "write it without, and put RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD into backup_credentials",
            about,
        )
    elif value.startswith("/"):
        yield from _folder(value, about, root, daemon)
    elif not (form := KINDS.get(kind(plan))) or not re.fullmatch(form, value.partition(":")[2]):
        yield Finding(f"is not a place that backups can go to: {shown(value)}", f"write {FORMS}", about)


def _folder(value: str, about: str, root: str | None, daemon: Mapping[str, Any] | None) -> Findings:
    path = folder(value)
    if re.search(r"[,\x00-\x1f\x7f]|(^|/)\.\.?(/|$)", value) or path == "/":
        yield Finding(f"is not a folder's path: {shown(value)}", "write one such as /mnt/backup/hub", about)
        return
    saved = [*filter(None, (root, str((daemon or {}).get("data-root") or ""))), *WITH_THE_ENGINE]
    if lost := next((each for each in saved if f"{path}/".startswith(f"{folder(each)}/")), None):
        what = f"is in {shown(lost)}, which it saves, so both would be lost together"
        yield Finding(what, "use a folder on another disk, or a store that is elsewhere", about)
    elif SYSTEM.fullmatch(path):
        yield Finding(f"is a folder of the system: {shown(value)}", "write one such as /mnt/backup/hub", about)


@rule(PLAN)
def schedule(plan: Mapping[str, Any]) -> Findings:
    """Systemd and cron must both understand it; and a backup whose key died with the machine is none."""
    value = plan.get("schedule")
    if value is None:
        return
    if value != "hourly" and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        yield Finding(
            f"is neither a time nor hourly: {shown(value)}",
            'write a time of the day in quotes, such as "03:30", or hourly',
            f"{PLAN}.schedule",
        )
    if plan.get("repository") and not plan.get("key_is_kept"):
        yield Finding(
            "backups would be made of which only this machine has the key, so that they are worthless once it is lost",
            "deploy without schedule, run make backup-key, put the key in a safe place away from the machine, then set"
            " key_is_kept: true (docs/how-to/backup.md)",
            f"{PLAN}.schedule",
        )


@rule(PLAN)
def keep(plan: Mapping[str, Any]) -> Findings:
    """Restic's units; from a store that is append-only, nothing can be removed from here."""
    kept = plan.get("keep")
    if kept and plan.get("append_only"):
        yield Finding(
            "an append-only store lets nobody delete backups from here, which is what protects them",
            "remove keep, and remove old backups on the store's own side (docs/how-to/backup.md)",
            f"{PLAN}.keep",
        )
        return
    for unit, count in (kept or {}).items():
        if unit not in UNITS:
            advice = did_you_mean(str(unit), UNITS, f"use {', '.join(UNITS)}")
            yield Finding(f"unknown key {shown(str(unit))}", advice, f"{PLAN}.keep")
        elif not isinstance(count, int) or isinstance(count, bool) or count < 1:
            yield Finding("is not a number of backups", "write a whole number, at least 1", f"{PLAN}.keep.{unit}")


@rule(PASSWORD)
def password(value: str) -> Findings:
    """Whoever can read the store can try passwords there without limit."""
    if is_placeholder(value, secret=True):
        yield Finding("is still a placeholder", "make one with: openssl rand -hex 32 (or leave it out)")
    elif why := weakness(value):
        yield Finding(f"is easy to guess: {why}", "make another with: openssl rand -hex 32 (or leave it out)")
    elif len(value) < PASSWORD_MIN:
        yield Finding(f"is shorter than {PASSWORD_MIN} characters", "make one with: openssl rand -hex 32")


@rule(CREDENTIALS, PLAN)
def credentials(given: Mapping[str, Any], plan: Mapping[str, Any]) -> Findings:
    """A misspelt name would have no effect; each kind of store has its own."""
    store = kind(plan)
    known = KNOWN.get(store, ())
    for name, value in given.items():
        about = f"{CREDENTIALS}.{name}"
        if name not in known:
            where = f"{store}: stores" if store in KNOWN else "a folder, which needs none,"
            others = f"use {', '.join(known)}" if known else "remove it"
            yield Finding(f"is not a credential of {where}", did_you_mean(name, known, others), about)
        elif not isinstance(value, str) or not value.strip():
            yield Finding("is not a string", "write it in quotes, from a vault", about)
        elif is_placeholder(value, secret=True):
            yield Finding("is still a placeholder", "write the value from your store, from a vault", about)


@rule(PLAN, CREDENTIALS)
def needed_credentials(plan: Mapping[str, Any], given: Mapping[str, Any]) -> Findings:
    """Otherwise the first backup would fail."""
    # Otherwise the repository itself is reported.
    place = str(plan.get("repository")).partition(":")[2]
    well_formed = re.fullmatch(KINDS.get(kind(plan), "-"), place) and not is_placeholder(place)
    for name in NEEDED[kind(plan)] if well_formed else ():
        if name not in given:
            yield Finding(f"lacks {name}, which {kind(plan)}: stores need", f"add {name}, from a vault", CREDENTIALS)


@rule(PLAN, "hub_volume_name_template")
def adopted_homes(plan: Mapping[str, Any], template: str) -> Findings:
    """Adopted volumes have no label, so that they are found by their names."""
    if plan.get("repository") and template.startswith("{"):
        yield Finding(
            f"homes cannot be told from other volumes by hub_volume_name_template: {shown(template)}",
            "use a template that begins with a prefix, or make backups in another way",
        )
