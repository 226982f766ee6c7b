"""Action `preflight`: report all problems of the settings and the machine in one message."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.rules.check import Settings
from ..module_utils.rules.mounts import same_for_all
from ..module_utils.rules.problems import Finding, message
from ..module_utils.rules.specs import Specs
from ..module_utils.rules.tables import addresses
from ..plugin_utils import settled
from ..plugin_utils.preflight import ingress, lease, report, specs
from ..plugin_utils.preflight.host import Host, shared_sources, warnings
from ..plugin_utils.preflight.sources import Sources

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Used in place of invalid settings, so that the machine can be checked anyway.
STAND_INS = {
    "jupyterhub_name": "jupyterhub",
    "jupyterhub_address": "127.0.0.1",
    "jupyterhub_root": "/srv",
}


class ActionModule(ActionBase):
    """See the file's docstring; it has no options, and runs the module `host_report`."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check, and fail with one message that lists all problems."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        declared = specs.load(ROLES, self._read)
        sources, settings = self._settings(declared, variables)
        problems, good = report.check_settings(declared, settings)
        # With invalid settings nothing will be changed, and the Hub's name may be wrong.
        wanted = None if problems or self._task.check_mode else lease.Lease(good["jupyterhub_name"], os.getppid())
        host = self._host(good, variables, wanted)
        if holder := host.report.get("holder"):
            result.update(failed=True, msg=lease.refusal_message(holder))
            return result
        problems += report.check_host(host, settings, good)
        result.update(changed=False, msg="The settings and the machine are ready for a deployment.")
        result["warnings"] = [*warnings(host, good), *addresses.warnings(good)]
        if problems:
            result.update(failed=True, msg=message(problems))
        else:
            result.update(
                engine=dict(host.engine),
                settings_files=sources.files(),
                settings_digest=_digest(sources.files()),
                has_ingress=host.report["has_ingress"],
                has_backup=host.report["has_backup"],
                networks=host.report["own_networks"],
                servers_running=host.report["servers_running"],
                containers={name: settled.seen(each) for name, each in host.report["own_containers"].items()},
                seen={
                    name: {"now": "", "was": "", **look, **host.report["looks"].get(name, {})}
                    for name, look in settled.looks(good["jupyterhub_name"], good["jupyterhub_root"]).items()
                },
                # With a fact cache, jupyterhub_changed may be left from an earlier run (plugins/action/settled.py).
                ansible_facts={**host.facts, "jupyterhub_changed": False},
            )
        return result

    def _read(self, path: Path) -> Any:
        return self._loader.load_from_file(str(path), trusted_as_template=True)

    def _settings(self, declared: Specs, variables: Mapping[str, Any]) -> tuple[Sources, Settings]:
        """Evaluate all settings, with the defaults of all roles, also those outside this play."""
        raw = {**declared.defaults, **variables}
        templar = self._templar.copy_with_new_env(available_variables=raw)
        values: dict[str, Any] = {}
        broken: dict[str, Finding] = {}
        for name in declared.options:
            if name in raw:
                try:
                    values[name] = templar.template(raw[name])
                except AnsibleError as error:
                    broken[name] = _explained(error)
        sources = Sources(raw, values, declared)
        context = {"playbook_dir": variables["playbook_dir"]}
        return sources, Settings(
            values, set(variables), broken, sources.where, sources.is_secret, sources.exposed(), context
        )

    def _host(self, good: Mapping[str, Any], variables: dict[str, Any], wanted: lease.Lease | None) -> Host:
        """Get the machine's report and take the lease; if another run has it, wait until it is renewed or expires."""
        known = {name: good.get(name, value) for name, value in STAND_INS.items()}
        arguments = {name.removeprefix("jupyterhub_"): value for name, value in known.items()}
        mounts = [mount for entry in good.get("images_environments") or [] for mount in entry.get("mounts") or []]
        arguments["folders"] = sorted(
            {same_for_all(mount["source"]) for mount in mounts if mount["source"].startswith("/")}
        )
        arguments["shared_folders"] = shared_sources(good.get("hub_shared_folders") or [])
        arguments |= ingress.report_options(good)
        arguments["backup_password"] = good.get("backup_password")
        arguments["looks"] = settled.looks(arguments["name"], arguments["root"])
        if wanted:
            arguments["lease"] = wanted.request()
        host = self._ask(arguments, variables)
        if first := host.report.get("holder"):
            Display().display(lease.waiting_message(first))
            # Either the other run renews the lease, or it expires and the module takes it.
            while host.report.get("holder", {}).get("renewed") == first["renewed"]:
                time.sleep(1)
                host = self._ask(arguments, variables)
        if wanted and "holder" not in host.report:
            lease.in_background(lambda: wanted.keep(self._execute))
        return host

    def _ask(self, arguments: dict[str, Any], variables: dict[str, Any]) -> Host:
        report = self._module("local.jupyterhub.host_report", arguments, variables)
        return Host(report.get("facts", {}), report, report.get("engine", {}))

    def _execute(self, command: str) -> bool | None:
        try:
            done: bool = self._low_level_execute_command(command)["rc"] == 0
        except AnsibleConnectionFailure:
            return None
        return done

    def _module(self, name: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(name, arguments, task_vars=variables)
        if answer.get("failed"):
            raise AnsibleError(f"The module {name} failed: {answer.get('msg', 'without a message')}")
        return answer


def _digest(files: list[str]) -> str:
    """Return a hash of the files in which settings are set, as they are: a vault is encrypted."""
    found = hashlib.sha256()
    for path in map(Path, files):
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def _explained(error: AnsibleError) -> Finding:
    """Return why a value cannot be evaluated; except for missing variables, Ansible's message may contain a secret."""
    if isinstance(error, AnsibleUndefinedVariable):
        vaulted = "'vault_" in str(error.message)
        fix = "add it by .venv/bin/ansible-vault edit group_vars/<group>/vault.yml" if vaulted else "set that variable"
        return Finding(f"refers to a variable that is not set: {error.message}", f"{fix}, or remove this line")
    return Finding(
        f"cannot be evaluated ({type(error).__name__})",
        "correct its {{ expression }}, or give the vault password that decrypts it (in .vault-password)",
    )
