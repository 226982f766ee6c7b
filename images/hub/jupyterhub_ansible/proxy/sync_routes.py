"""`python -m jupyterhub_ansible.proxy.sync_routes`: make the Hub restore the routes of a replaced proxy at once.

Without it, the Hub does so within `last_activity_interval` seconds.  Runs inside the Hub's container.
"""

import hashlib
import hmac
import http.client
import sys

from ..settings.model import SettingsError, load

SERVICE = "sync-routes"
"""The Hub's service that makes the request; its only scope is `proxy`."""


def token(cookie_secret: bytes, service: str = SERVICE) -> str:
    """Return the API token of a service, derived so that it needs no file and survives restarts.

    JupyterHub never removes a service's old tokens from its database (`JupyterHub._add_tokens`), so new random ones
    would pile up.
    """
    return hmac.new(cookie_secret, service.encode(), hashlib.sha256).hexdigest()


def main() -> str | None:
    """Make the request; return a message if it fails (`sys.exit` prints it and exits with 1)."""
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
