"""Rules for settings that are of the right form: what the values mean, and settings that must fit each other.

They are the playbook's own (jupyterhub_ansible.rules): a Hub of a Compose application has no preflight before it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..rules import Place, access, addresses, github, mounts, providers, traits
from ..rules.placeholders import is_placeholder
from ..rules.words import shown

if TYPE_CHECKING:
    from .model import Environment, Settings

Found = Iterator[tuple[str, str, str]]
"""The key, what is wrong with its value, and the fix."""

_WAY = "authenticator"
_SHARED = "shared-password"


def problems(settings: "Settings") -> list[str]:
    """Return one line per problem. No line has a value that may be a secret."""
    rules = (_access, _names, _github, _public, _server, _environments, _free_images, _provider, _traits)
    return [f"{key}: {what}; {fix}" for rule in rules for key, what, fix in rule(settings)]


def _lists(settings: "Settings") -> dict[str, tuple[str, ...]]:
    """Return who is named where, users first."""
    named = {name: getattr(settings.access, name) for name in ("admin_users", "allowed_users", "blocked_users")}
    found = {f"access.{name}": tuple(sorted(names)) for name, names in named.items()}
    if settings.github:
        for name in ("allowed_organizations", "allowed_teams", "admin_teams"):
            found[f"github.{name}"] = tuple(sorted(getattr(settings.github, name)))
    return found


def _access(settings: "Settings") -> Found:
    lists, everybody = _lists(settings), settings.access.allow_all
    allowed = {key: names for key, names in lists.items() if ".allowed_" in key}
    admins = [names for key, names in lists.items() if ".admin_" in key]
    yield from access.everybody_and_some("access.allow_all", everybody, allowed)
    kinds = {"access.admin_users": "an administrator", "access.allowed_users": "allowed"}
    yield from access.also_blocked(
        {key: (kind, lists[key]) for key, kind in kinds.items()},
        "access.blocked_users",
        lists["access.blocked_users"],
    )
    if settings.authenticator == _SHARED:
        for key, said in {**lists, "access.allow_all": everybody}.items():
            if said:
                what = f"is not read with {_WAY}: {_SHARED}, where everybody who knows it is in"
                yield key, what, f"remove it, or set {_WAY}: github"
    elif not (
        everybody
        or any(allowed.values())
        or any(admins)
        or providers.lets_in(settings.traits, settings.authenticator, "allow", "admin")
    ):
        what = "nobody could log in: no setting lets anybody in"
        yield "access", what, "name yourself in access.admin_users, and others in access.allowed_users"


def _names(settings: "Settings") -> Found:
    of_github = settings.authenticator == "github"
    domain = providers.hosted_domain(settings.traits, settings.authenticator)
    for key, names in _lists(settings).items():
        for name in names:
            if is_placeholder(name):
                yield key, f"has still a placeholder: {shown(name)}", "write real names, or remove it"
            elif key.startswith("access.") and of_github and (fix := github.wrong_login(name)):
                yield key, f"has no login name of GitHub: {shown(name)}", fix
            elif key.startswith("access.") and name != name.strip():
                yield key, f"has a space around it: {shown(name)}", f"write {shown(name.strip())}"
            elif domain and key.startswith("access.") and name.endswith(f"@{domain}".casefold()):
                what = f"with one hosted_domain, names are without it: {shown(name)}"
                yield key, what, f"write {name.partition('@')[0]}"
            elif key.endswith("_teams") and (fix := github.wrong_team(name)):
                yield key, f"has no team of GitHub: {shown(name)}", fix
            elif key.endswith("_organizations") and (fix := github.wrong_organization(name, "github.allowed_teams")):
                yield key, f"has no organisation of GitHub: {shown(name)}", fix


def _github(settings: "Settings") -> Found:
    if not settings.github:
        return
    app, server = settings.github.client_id, settings.github.url
    if is_placeholder(app):
        yield "github.client_id", "is still a placeholder", "take the client ID of your OAuth app at GitHub"
    elif wrong := github.wrong_client_id(app):
        yield "github.client_id", *wrong
    if is_placeholder(server):
        yield "github.url", "is still a placeholder", "write https://github.com, or the address of your own server"
    elif wrong := github.wrong_server(server):
        yield "github.url", *wrong


def _public(settings: "Settings") -> Found:
    url = settings.public.url
    if wrong := addresses.wrong_form(url):
        yield "public.url", f"{wrong[0]}: {shown(url)}", wrong[1]
    elif is_placeholder(url):
        yield "public.url", f"is still a placeholder: {shown(url)}", "write the address that browsers use"
    elif settings.authenticator == _SHARED and not addresses.is_loopback(addresses.host_of(url)):
        what = f"others reach {shown(url)}, and with {_WAY}: {_SHARED} anybody logs in as anybody"
        yield "public.url", what, f"write an address of this machine alone, or set {_WAY}: github"
    elif addresses.is_readable_on_the_way(url):
        what = f"is http, so that logins could be read on the way: {shown(url)}"
        yield "public.url", what, f"write https://{addresses.host_of(url)}"


def _server(settings: "Settings") -> Found:
    tmp, memory = settings.server.tmp_mb, settings.server.memory_mb
    if tmp is not None and tmp >= memory:
        what = f"is memory: {tmp} MB are all that a server may use (server.memory_mb: {memory})"
        yield "server.tmp_mb", what, f"lower it to {memory // 2} or less, or leave it out, for half of the memory"


def _environments(settings: "Settings") -> Found:
    for number, environment in enumerate(settings.environments):
        key = f"environments.{number}"
        for group in sorted(environment.groups):
            if wrong := github.wrong_group(group, github=settings.authenticator == "github"):
                yield f"{key}.groups", f"{wrong[0]}: {shown(group)}", wrong[1]
        for user in sorted(environment.users):
            if user != user.strip():
                yield f"{key}.users", f"has a space around it: {shown(user)}", f"write {shown(user.strip())}"
        for index, what, fix in _mounts(settings, environment):
            yield f"{key}.mounts.{index}", what, fix


def _ours(settings: "Settings") -> mounts.Ours:
    # As a Compose application it may be Coolify's.
    folders = (mounts.COOLIFY,) if settings.compose else ()
    return mounts.ours(settings.name, settings.volume_name_template, folders)


def _mounts(settings: "Settings", environment: "Environment") -> Iterator[tuple[int, str, str]]:
    ours = _ours(settings)
    taken = {mounts.folder(environment.home)}
    for index, mount in enumerate(environment.mounts):
        wrong = mounts.wrong_source(mount.source, ours, read_only=mount.read_only)
        if wrong := wrong or mounts.wrong_target(mount.target, taken):
            yield index, *wrong
        taken.add(mounts.folder(mount.target))


def _free_images(settings: "Settings") -> Found:
    for group, patterns in settings.free_images.items():
        if not patterns:
            yield (
                f"free_images.{group}",
                "is not a list of patterns",
                'write one, such as ["registry.example.org/team/*"]',
            )
        if wrong := github.wrong_group(group, github=settings.authenticator == "github"):
            yield f"free_images.{group}", f"{wrong[0]}: {shown(group)}", wrong[1]


def _provider(settings: "Settings") -> Found:
    classes, way = settings.traits, settings.authenticator
    found = (
        providers.missing(classes, way, _WAY),
        providers.placeholders(classes, way),
        providers.wrong_callback(classes, way, settings.public.url, "public.url"),
        providers.of_another(classes, way, _WAY),
    )
    for rule in found:
        for path, what, fix in rule:
            yield ".".join(("traits", *path)), what, fix


def _traits(settings: "Settings") -> Found:
    for path, what, fix in traits.refused(settings.traits, settings.authenticator, _ours(settings)):
        advice = f"set {fix.key} instead" if isinstance(fix, Place) else fix
        yield ".".join(("traits", *path)), what, advice
