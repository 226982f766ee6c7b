"""The operator's own files in the Hub (`images_hub_files`): jupyterhub_config.py runs last, modules can be imported.

What that file sets is held against the rules for `hub_traits`, since much of it comes from another Hub's configuration:
it could open what this deployment closes, or have no effect.
"""

import copy
import os
import runpy
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets.config import Config, LazyConfigValue

from ..rules.mounts import Mounted, wrong_together
from ..rules.tables.folders import protected_by_settings
from ..rules.traits import mounted, refused
from .model import Settings, SettingsError

FOLDER = "/etc/jupyterhub/hub_files"
NAME = "jupyterhub_config.py"


def folder() -> Path:
    """Return the folder, which $JUPYTERHUB_FILES_DIR overrides."""
    return Path(os.environ.get("JUPYTERHUB_FILES_DIR", FOLDER))


def run(config: Config, settings: Settings) -> None:
    """Run the file on top of the Hub's configuration.

    Raises:
        SettingsError: it fails, or sets what it must not.
    """
    file = folder() / NAME
    if not file.is_file():
        return
    before = copy.deepcopy(_plain(config))
    try:
        runpy.run_path(str(file), {"c": config, "get_config": lambda: config}, file.stem)
    except (Exception, SystemExit) as error:
        why = error.msg if isinstance(error, SyntaxError) else error
        raise SettingsError(f"{_place(error, file)}: {type(error).__name__}: {why}") from None
    after = _plain(config)
    changed = {
        name: {trait: value for trait, value in traits.items() if trait not in before.get(name, {})}
        | {trait: value for trait, value in traits.items() if before.get(name, {}).get(trait, value) != value}
        for name, traits in after.items()
    }
    of_machine = (None, settings.hub_volume_name_template, None, None, settings.compose)
    closed = protected_by_settings(settings.jupyterhub_name, *of_machine)
    if found := [*refused(changed, settings.hub_authenticator, closed)]:
        raise SettingsError("\n".join(f"{NAME}: {'.'.join(path)}: {what}; {fix}" for path, what, fix in found))
    everywhere = [
        Mounted(f"images_environments (slug {each.slug})", mount.source, not mount.read_only)
        for each in settings.images_environments
        for mount in each.mounts
    ]
    everywhere += [
        Mounted(f"hub_shared_folders (slug {each.slug})", each.source, each.is_writable)
        for each in settings.hub_shared_folders
        if each.source
    ]
    if wrong := [*wrong_together([*everywhere, *mounted(after)])]:
        raise SettingsError("\n".join(f"{NAME}: {each.about}: {what}; {fix}" for each, what, fix in wrong))
    if gone := [
        f"{name}.{trait}" for name in changed for trait in changed[name] if _is_replaced(before, after, name, trait)
    ]:
        fix = "add to it, such as c.JupyterHub.load_roles += [...] or c.JupyterHub.template_vars.update(...)"
        raise SettingsError(f"{NAME}: {', '.join(gone)}: the deployment's own values would be lost; {fix}")


def _is_replaced(before: Mapping[str, Any], after: Mapping[str, Any], name: str, trait: str) -> bool:
    """Return whether a list, set or dictionary lacks what the deployment had put into it."""
    ours, theirs = before.get(name, {}).get(trait), after[name][trait]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return not ours.keys() <= theirs.keys()
    both = isinstance(ours, (list, set)) and isinstance(theirs, (list, set))
    return both and any(each not in theirs for each in ours)


def _plain(config: Config) -> dict[str, dict[str, Any]]:
    """Return the configuration by class and trait; what extends a default counts as the value."""
    return {
        name: {trait: plain(value) for trait, value in traits.items()}
        for name, traits in config.items()
        if isinstance(traits, Mapping)
    }


def plain(value: Any) -> Any:
    """Return a trait's value; of what extends a default, as if that was empty."""
    if not isinstance(value, LazyConfigValue):
        return value
    added = value._update
    # A dictionary may also be extended by a list of pairs, which traitlets keeps in a set.
    is_set = isinstance(added, set) and not all(isinstance(each, tuple) and len(each) == 2 for each in added)
    try:
        return value.get_value(set() if is_set else {} if added else [])
    finally:
        # It keeps its first answer, and would later give that to the class, without the class's default.
        value._value = None


def _place(error: BaseException, file: Path) -> str:
    """Return the last line of the operator's files that an error came from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(file.parent)]
    return f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else file.name
