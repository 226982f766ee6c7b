"""Filters of the role images: which images are wanted, which are missing, and which are no longer needed.

An image's tag is a hash of everything that it is made of: the files of its build context, its build arguments and its
parent's hash.  So the names of all images are known before anything is built, an interrupted run is completed by the
next one, and unchanged images are never rebuilt.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import runpy
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

Plan = dict[str, dict[str, Any]]

# This folder's Dockerfile adds requirements to `base`: the operator's, and those of our own `datascience`.
ON_TOP = "environment"
# The file in build contexts that passes the network's settings to a build.
NETWORK = "network.env"
# The folder in the Hub's build context with the operator's own files.
HUB_FILES = "hub_files"
FILES = Path(__file__).resolve().parents[2] / "images"
BUILT_IN = ("base", "datascience")
# Where an image comes from; the Hub does not need to know that.
WAYS = ("pip", "apt", "dockerfile", "image", "image_of")
# Not part of a build context.
LEFT_OUT = {".git", "__pycache__"}
HUB_RELEASE = re.compile(r"^jupyterhub==(?P<release>\S+)", re.MULTILINE)


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not LEFT_OUT.intersection(inside.parts) and (path.is_symlink() or path.is_file()):
            yield inside.as_posix(), path


def _pack(folder: Path, files: Mapping[str, str], folders: Mapping[str, str] | None = None) -> bytes:
    """Return a folder, and further files and folders in it, as a reproducible tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        found = dict(_walk(folder))
        for name, other in (folders or {}).items():
            found |= {f"{name}/{inside}": path for inside, path in _walk(Path(other))}
        for name, path in found.items():
            if name in files:
                continue
            member = tarfile.TarInfo(name)
            if path.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
                archive.addfile(member)
                continue
            content = path.read_bytes()
            # Modes depend on the clone's umask, except for the executable bit.
            member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o644, len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _image(
    project: str,
    name: str,
    kind: str,
    parent: Mapping[str, Any],
    folder: Path,
    *,
    files: Mapping[str, str] | None = None,
    args: Mapping[str, str] | None = None,
    folders: Mapping[str, str] | None = None,
    made_of: Sequence[str] = (),
) -> dict[str, Any]:
    files, args, folders = files or {}, args or {}, folders or {}
    content = hashlib.sha256(_pack(folder, files, folders)).hexdigest()
    parts = [content, dict(args), parent["hash"], list(made_of)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "name": name,
        "kind": kind,
        "ref": f"{project}/{name}:{digest}",
        "hash": digest,
        "parent": parent["name"],
        "parent_ref": parent["ref"],
        "folder": str(folder),
        "files": dict(files),
        "folders": dict(folders),
        "args": dict(args),
    }


def _ready(name: str, ref: str, kind: str = "ready") -> dict[str, Any]:
    """Return an image that is made elsewhere; of kind `ready` it contains JupyterHub, of kind `pulled` it does not."""
    return {"name": name, "kind": kind, "ref": ref, "hash": "", "parent": None}


def _environment(
    project: str, entry: Mapping[str, Any], base: Mapping[str, Any], files: Path, playbook_dir: str
) -> dict[str, Any]:
    """Return the image of one entry of the catalogue."""
    slug = entry["slug"]
    args = {"SLUG": slug}
    if entry.get("dockerfile"):
        folder = Path(playbook_dir, entry["dockerfile"])
        if not (folder / "Dockerfile").is_file():
            raise AnsibleFilterError(f"images_environments, {slug}: {folder} has no Dockerfile on this machine.")
        return _image(project, f"env-{slug}", "environment", base, folder, args=args)
    if entry.get("pip") or entry.get("apt"):
        requirements, packages = entry.get("pip") or [], entry.get("apt") or []
        texts = {
            "requirements.txt": "".join(f"{line}\n" for line in requirements),
            "packages.txt": "".join(f"{line}\n" for line in packages),
        }
    elif slug in BUILT_IN:
        args["TESTS"] = "drop"
        texts = {name: (files / slug / name).read_text() for name in ("requirements.txt", "packages.txt")}
    else:
        raise AnsibleFilterError(
            f"images_environments, {slug}: does not say where its image comes from. Add pip, apt, dockerfile or image;"
            f" only {' and '.join(BUILT_IN)} are built in."
        )
    texts |= _network(files)
    return _image(project, f"env-{slug}", "environment", base, files / ON_TOP, files=texts, args=args)


def _network(files: Path) -> dict[str, str]:
    return {NETWORK: (files / NETWORK).read_text()}


def maker(entry: Mapping[str, Any], catalogue: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the entry whose image an entry uses: itself, or the one that image_of names."""
    slug = entry.get("image_of")
    if not slug:
        return entry
    made = {other["slug"]: other for other in catalogue if not other.get("image_of")}
    if slug not in made and slug not in BUILT_IN:
        raise AnsibleFilterError(
            f"images_environments, {entry['slug']}: image_of names {slug}, which has no image of its own."
            f" It can be one of: {', '.join({**made, **dict.fromkeys(BUILT_IN)})}."
        )
    # A built-in image is made for it, even if it is not in the catalogue itself.
    return made.get(slug, {"slug": slug})


def images_plan(
    catalogue: Sequence[Mapping[str, Any]],
    project: str,
    system: str,
    refresh_date: str,
    apt_mirror: str = "",
    playbook_dir: str = "",
    ingress: str = "",
    hub_files: str = "",
    files: str = str(FILES),
    *,
    backup: bool = False,
) -> Plan:
    """Return all images by name, parents before children.

    Args:
        catalogue: the setting images_environments.
        project: the setting jupyterhub_name, the prefix of all names.
        system: the setting images_base.
        refresh_date: the setting images_refresh_date; a new date rebuilds everything.
        apt_mirror: the setting images_apt_mirror, which is stored in the images.
        playbook_dir: relative Dockerfile folders are relative to it.
        ingress: "built" for our own image of Caddy, the reference of another one, or "" for none.
        hub_files: the setting images_hub_files; relative to the playbook's folder, too.
        files: the project's folder images/.
        backup: whether there are backups.

    Raises:
        AnsibleFilterError: an entry cannot be built.
    """
    root = Path(files)
    if "@" in apt_mirror:
        raise AnsibleFilterError(
            "images_apt_mirror: has a password, which would be stored in all images. Use a mirror without one, or set"
            " images_http_proxy."
        )
    digest = hashlib.sha256(system.encode()).hexdigest()[:16]
    os: dict[str, Any] = {
        "name": "os",
        "kind": "os",
        "ref": f"{project}/os:{digest}",
        "hash": digest,
        "parent": None,
        "source": system,
        "apt_mirror": apt_mirror,
    }
    mirror = {"APT_MIRROR": apt_mirror} if apt_mirror else {}
    base = _image(project, "base", "base", os, root / "base", args=mirror, made_of=[refresh_date])
    network = _network(root)
    own = {HUB_FILES: str(Path(playbook_dir, hub_files))} if hub_files else {}
    user = _image(project, "env-base", "environment", base, root / "singleuser", files=network)
    images = [
        os,
        base,
        _image(project, "hub", "hub", base, root / "hub", files=network, folders=own),
        _image(project, "proxy", "proxy", base, root / "proxy", files=network),
    ]
    if ingress == "built":
        images.append(_image(project, "ingress", "ingress", base, root / "ingress"))
    elif ingress:
        images.append(_ready("ingress", ingress, kind="pulled"))
    if backup:
        images.append(_image(project, "backup", "backup", base, root / "backup"))
    makers = {each["slug"]: each for each in (maker(entry, catalogue) for entry in catalogue)}
    built = [entry for entry in makers.values() if not entry.get("image")]
    if built:
        images.append(user)
    images += [_environment(project, entry, user, root, playbook_dir) for entry in built if entry["slug"] != "base"]
    release = HUB_RELEASE.search((root / "hub/requirements.txt").read_text())
    images += [_ready(f"env-{entry['slug']}", entry["image"]) for entry in makers.values() if entry.get("image")]
    for image in images:
        image["hub_release"] = release["release"] if release else ""
    return {image["name"]: image for image in images}


def _full_name(ref: str) -> str:
    """Return a reference as `docker image ls` prints it."""
    for prefix in ("docker.io/", "library/"):
        ref = ref.removeprefix(prefix)
    last = ref.rpartition("/")[2]
    return ref if ":" in last or "@" in last else f"{ref}:latest"


def images_missing(plan: Plan, listing: Sequence[str]) -> list[dict[str, Any]]:
    """Return the missing images, including missing parents that a build needs.

    Args:
        plan: what images_plan returned.
        listing: lines "<repository>:<tag> <repository>@<digest>" of the engine's images.
    """
    present = {name for line in listing for name in line.split()}
    missing = {name for name, image in plan.items() if _full_name(image["ref"]) not in present}
    # The OS base is only needed to build `base`.
    if "base" not in missing:
        missing.discard("os")
    return [image for name, image in plan.items() if name in missing]


def _seccomp_profile() -> str:
    """Return the profile of users' servers, from the Hub's own package."""
    return str(runpy.run_path(str(FILES / "hub/jupyterhub_ansible/spawner/seccomp.py"))["PROFILE"])


def images_packed(images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the images with their build contexts, as base64 of a tar archive, and what they are tested with."""
    return [
        {
            **{key: value for key, value in image.items() if key not in ("folder", "files", "folders")},
            "context": base64.b64encode(_pack(Path(image["folder"]), image["files"], image["folders"])).decode(),
            **({"seccomp": _seccomp_profile()} if image["kind"] == "environment" else {}),
        }
        if "folder" in image
        else dict(image)
        for image in images
    ]


def images_surplus(plan: Plan, listing: Sequence[str], own: Sequence[str], project: str, keep: int) -> list[str]:
    """Return the project's own tags that are neither wanted nor among the `keep` latest older ones of a wanted image.

    Args:
        plan: what images_plan returned.
        listing: the engine's images, newest first, as for images_missing.
        own: those of them that the role made, as image_listing returns them.
        project: the setting jupyterhub_name.
        keep: how many older tags of each image stay.
    """
    wanted = {image["ref"] for image in plan.values()}
    # Caddy's image stays, for changing the ingress mode back and forth.
    repositories = {ref.rpartition(":")[0] for ref in wanted} | {f"{project}/ingress"}
    older: dict[str, list[str]] = {}
    for line in listing:
        ref = line.split()[0]
        repository, _, tag = ref.rpartition(":")
        # A base pulled from a registry has no label, so it is recognised by its name.
        ours = ref in own or (repository == f"{project}/os" and re.fullmatch(r"[0-9a-f]{16}", tag))
        if repository.startswith(f"{project}/") and ref not in wanted and ours:
            older.setdefault(repository, []).append(ref)
    # For environments that are no longer in the catalogue, nothing is kept.
    kept = {repository: keep if repository in repositories else 0 for repository in older}
    return sorted(ref for repository, refs in older.items() for ref in refs[kept[repository] :])


def images_refs(plan: Plan) -> list[str]:
    """Return the images of users' servers."""
    return sorted({image["ref"] for name, image in plan.items() if name.startswith("env-")})


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "images_plan": images_plan,
            "images_missing": images_missing,
            "images_packed": images_packed,
            "images_refs": images_refs,
            "images_surplus": images_surplus,
        }
