"""`python -m jupyterhub_ansible.proxy.sync_routes`: the Hub gives a proxy that was replaced its routes back, now.

Without it the Hub does so within `last_activity_interval` seconds.  To be run inside the Hub's container.
"""

import hashlib
import hmac
import http.client
import sys

from ..settings.model import SettingsError, load

SERVICE = "sync-routes"
"""The Hub's service in whose name this asks; its one scope is `proxy`."""


def token(cookie_secret: bytes, service: str = SERVICE) -> str:
    """API token of a service: derived, so that it needs no file and stays the same over restarts.

    JupyterHub never removes an older token of a service from its database (`JupyterHub._add_tokens`), so a new
    random one at each start would pile up.
    """
    return hmac.new(cookie_secret, service.encode(), hashlib.sha256).hexdigest()


def main() -> str | None:
    """Ask for it; a message if it failed (`sys.exit` prints it and exits with 1)."""
    try:
        headers = {"Authorization": f"token {token(load().secrets.cookie_secret)}"}
        connection = http.client.HTTPConnection("127.0.0.1", 8081, timeout=30)
        connection.request("POST", "/hub/api/proxy", headers=headers)
        response = connection.getresponse()
    except SettingsError as error:
        return str(error)
    except (OSError, http.client.HTTPException) as error:
        return f"The Hub does not answer: {error}"
    if response.status != http.client.OK:
        return f"The Hub answered {response.status} {response.reason}"
    return None


if __name__ == "__main__":
    sys.exit(main())
