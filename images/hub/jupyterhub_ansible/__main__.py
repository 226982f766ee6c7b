"""`python -m jupyterhub_ansible`: an administrator's commands, in the Hub's container."""

import importlib
import sys

COMMANDS = {
    "audit": ("audit.check", "check that no line of the audit trail was removed or edited"),
    "check": ("settings.check", "check whether the Hub would start with these settings"),
    "emergency-link": ("auth.emergency_link", "create a link for one login as administrator, if no other login works"),
    "homes": ("spawner.home_archives", "list and restore the archived homes of deleted users"),
    "identity": ("auth.identity", "list which GitHub account is which user, or forget one"),
    "import": ("spawner.home_imports", "show or copy the homes of another Hub"),
    "rename": ("auth.rename", "rename a user, with the homes"),
    "tokens": ("auth.tokens", "list the API tokens that never expire"),
    "uninstall": ("compose.uninstall", "Compose only: remove what this Hub made beside the application"),
}
"""Command: module with a function `main`, and description."""


def main() -> None:
    """Run the command that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        lines = [f"  {each:<15}{about}" for each, (_, about) in COMMANDS.items()]
        print("\n".join(["usage: python -m jupyterhub_ansible COMMAND ...", "", *lines]), file=sys.stderr)
        sys.exit(0 if name in ("-h", "--help") else 2)
    module = importlib.import_module(f"jupyterhub_ansible.{COMMANDS[name][0]}")
    sys.argv[:2] = [f"python -m jupyterhub_ansible {name}"]
    sys.exit(module.main())


if __name__ == "__main__":
    main()
