#!/usr/bin/python
"""Apply the Caddyfile, and check that browsers get a certificate, or report why they do not."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.acme_problems import PORT, complaints, explained, gave_up, most_telling

DOCUMENTATION = r"""
module: caddy_serves
short_description: Apply the Caddyfile, and check that browsers get a certificate, or report why they do not
description:
  - Makes Caddy reload its Caddyfile; nothing happens if it has not changed.
  - Requests the host's certificate as a browser does. If there is none, makes Caddy try at once, and reads its log.
  - Warns of a certificate that could not be renewed, or of the operator's own if it is about to expire.
options:
  container: {description: The container that Caddy runs in., type: str, required: true}
  network: {description: The network on which this machine reaches it., type: str, required: true}
  host: {description: The name that browsers use., type: str, required: true}
  own: {description: "The certificate is the operator's own, not Caddy's.", type: bool, default: false}
  fresh: {description: Caddy was just started and is already trying., type: bool, default: false}
  timeout_s: {description: How long to wait for a first certificate., type: int, default: 150}
"""

RETURN = r"""
ends: {description: "When the certificate expires, in UTC.", type: str, returned: when openssl is installed}
"""

CADDYFILE = ("--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile")
# Caddy renews when a third of the lifetime is left (certmagic, DefaultRenewalWindowRatio).
DUE = 1 / 3
OWN_DUE_DAYS = 21
LAST_LINES = 15


@dataclass(frozen=True)
class Certificate:
    """The validity of a certificate."""

    begins: datetime
    ends: datetime

    def left(self, now: datetime) -> float:
        """Return the fraction of its lifetime that is left."""
        return (self.ends - now) / (self.ends - self.begins)


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Docker client."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)


def address_of(container: str, network: str) -> str:
    """Return the container's address on a network, "" if it has none."""
    described = json.loads(docker("container", "inspect", container).stdout or "[]")
    networks = described[0]["NetworkSettings"]["Networks"] if described else {}
    return str(networks.get(network, {}).get("IPAddress") or "")


def started_at(container: str) -> str:
    """Return when the container was started, as the engine writes it; "" if there is no container."""
    return docker("container", "inspect", "--format", "{{.State.StartedAt}}", container).stdout.strip()


def shown(address: str, host: str) -> bytes | None:
    """Return the certificate that a browser asking for the host gets, None if there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Not verified: the authority may be one for tests, or the operator's own.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, PORT), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            return tls.getpeercert(binary_form=True)
    except OSError:
        return None


def parse(dates: str) -> Certificate:
    """Parse the output of `openssl x509 -startdate -enddate`."""
    found = dict(line.partition("=")[::2] for line in dates.splitlines())
    begins, ends = (
        datetime.strptime(found[name], "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        for name in ("notBefore", "notAfter")
    )
    return Certificate(begins, ends)


def read(certificate: bytes) -> Certificate | None:
    """Return the validity of a certificate, None if the machine has no openssl."""
    command = ["openssl", "x509", "-inform", "der", "-noout", "-startdate", "-enddate"]
    try:
        done = subprocess.run(command, input=certificate, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return parse(done.stdout.decode())


def reason(container: str, host: str, since: str) -> str:
    """Return why there is no certificate, with an explanation; "" if Caddy logged no reason."""
    done = docker("logs", "--since", since, container)
    complaint = most_telling(list(complaints(done.stdout + done.stderr, host)))
    return explained(complaint, host) if complaint else ""


def end_of_log(container: str) -> str:
    """Return the end of the container's log."""
    done = docker("logs", "--tail", str(LAST_LINES), container)
    return (done.stdout + done.stderr).strip() or "(it wrote nothing)"


def reload(module: AnsibleModule, *options: str) -> None:
    """Make Caddy reload its Caddyfile; if it refuses it, the old one stays in force."""
    container = module.params["container"]
    done = docker("exec", container, "caddy", "reload", *CADDYFILE, "--address", "unix//run/caddy/admin.sock", *options)
    if done.returncode:
        module.fail_json(
            msg=f"Caddy refused its new configuration and keeps the old one: {done.stderr.strip()[-1500:]}"
        )


def first_certificate(module: AnsibleModule, address: str) -> bytes:
    """Make Caddy try at once, wait for the certificate and return it; or fail with the reason."""
    container, host, timeout_s = (module.params[name] for name in ("container", "host", "timeout_s"))
    deadline, since = time.monotonic() + timeout_s, str(int(time.time()) - 1)
    if module.params["fresh"]:
        # It has been trying since then, so errors may have been logged before this module ran.
        since = started_at(container) or since
    else:
        # After failures Caddy waits before it tries again, up to several hours.
        reload(module, "--force")
    while not (certificate := shown(address, host)):
        done = docker("logs", "--since", since, container)
        if gave_up(done.stdout + done.stderr, host) or time.monotonic() > deadline:
            why = reason(container, host, since)
            why = why or f"Caddy logged no reason within {timeout_s} s. The end of its log:\n\n{end_of_log(container)}"
            module.fail_json(
                msg=f"The Hub runs, but browsers cannot reach it: there is no certificate for {host}.\n\n"
                f"Why: {why}\n\nCaddy keeps trying, less and less often; to try at once, deploy again."
                f" Its log: docker logs {container}"
            )
        time.sleep(0.5)
    return certificate


def warning(module: AnsibleModule, certificate: Certificate) -> str:
    """Return the warning about a certificate that is about to expire, "" if it is not."""
    container, host = module.params["container"], module.params["host"]
    now = datetime.now(UTC)
    ends = f"{certificate.ends:%Y-%m-%d %H:%M} UTC"
    if module.params["own"]:
        if (certificate.ends - now).days >= OWN_DUE_DAYS:
            return ""
        return (
            f"The certificate of {host} expires on {ends}. Renew it, put it into the files on the machine that"
            " ingress_caddy.certificate_file and key_file name, and deploy again"
        )
    if certificate.left(now) > DUE:
        return ""
    # Errors from before the renewal was due no longer matter.
    due = certificate.ends - (certificate.ends - certificate.begins) * DUE
    why = reason(container, host, str(int(due.timestamp())))
    return f"The certificate of {host} expires on {ends} and could not be renewed: {why}" if why else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "network": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "own": {"type": "bool", "default": False},
            "fresh": {"type": "bool", "default": False},
            "timeout_s": {"type": "int", "default": 150},
        },
    )
    try:
        serve(module)
    except subprocess.TimeoutExpired as error:
        module.fail_json(msg=f"The engine did not answer within {error.timeout:.0f} s: {' '.join(error.cmd[:3])}")


def serve(module: AnsibleModule) -> None:
    """Apply the Caddyfile, and finish with the certificate's expiry and a warning, if any."""
    reload(module)
    address = address_of(module.params["container"], module.params["network"])
    certificate = shown(address, module.params["host"]) or first_certificate(module, address)
    validity = read(certificate)
    warned = warning(module, validity) if validity else ""
    ends = {"ends": f"{validity.ends:%Y-%m-%d %H:%M}"} if validity else {}
    module.exit_json(changed=False, **ends, **({"warnings": [warned]} if warned else {}))


if __name__ == "__main__":
    main()
