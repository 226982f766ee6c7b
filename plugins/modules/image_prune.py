#!/usr/bin/python
"""Module `image_prune`: remove images' tags that no container uses."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: image_prune
short_description: Remove images' tags that no container uses
description:
  - Stopped containers count as well, since they may be started again.
  - An image is removed with its last tag.
options:
  refs:
    description: The tags, as repository:tag.
    type: list
    elements: str
    required: true
  logs:
    description: Folder of the builds' logs. An image's log is removed with its last tag.
    type: path
    required: true
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "refs": {"type": "list", "elements": "str", "required": True},
            "logs": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )

    def ask(*command: str, gone: str = "") -> list[str]:
        """Return the words of the engine's output; `gone` is its error for things removed since they were listed."""
        code, out, error = module.run_command(["docker", *command])
        if code and not all(gone and gone in line for line in error.splitlines() if line):
            module.fail_json(msg=f"docker {command[0]} {command[1]} failed: {error.strip()}")
        return str(out).split()

    refs = module.params["refs"]
    containers = ask("container", "ls", "--all", "--quiet", "--no-trunc")
    # Users' servers may be removed meanwhile.
    used = (
        set(ask("container", "inspect", "--format", "{{.Image}}", *containers, gone="No such container"))
        if containers
        else set()
    )
    ids = {ref: ask("image", "inspect", "--format", "{{.Id}}", ref)[0] for ref in refs}
    unused = [ref for ref, image in ids.items() if image not in used]
    if unused and not module.check_mode:
        ask("image", "rm", *unused)
        left = ask("image", "ls", "--format", "{{.Repository}}")
        for repository in {ref.rpartition(":")[0] for ref in unused} - set(left):
            Path(module.params["logs"], f"{repository.rpartition('/')[2]}.log").unlink(missing_ok=True)
    module.exit_json(changed=bool(unused), removed=unused)


if __name__ == "__main__":
    main()
