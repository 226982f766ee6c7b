"""Failures to obtain or renew a certificate: what the run and Caddy's log say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from e2e.client import eventually
from ways_in import ACME, NAME, Place

SHOWN = f"openssl s_client -connect 192.0.2.2:443 -servername {NAME} </dev/null 2>/dev/null | openssl x509 -noout"
REFUSED = {"jupyterhub_url": "https://refused.acme.test"}
# Waits until 59 s are left: less than a third of three minutes.
UNTIL_RENEWED = f"""
end=$({SHOWN} -enddate | cut -d= -f2)
left=$(($(date --date "$end" +%s) - $(date +%s)))
[ $left -le 180 ]
sleep $((left > 59 ? left - 59 : 0))
"""
PEBBLE = "/etc/pebble/pebble.json"


@pytest.fixture
def no_certificate(place: Place) -> None:
    """Start without a certificate."""
    # And without an ACME account: Pebble, unlike other servers, forgets accounts when it restarts.
    place.forget_the_certificate()


@pytest.fixture(scope="module", autouse=True)
def certificate_again(place: Place) -> Iterator[None]:
    """Restore a certificate in the end."""
    yield
    place.forget_the_certificate()
    place.deploy().succeeded()


@contextmanager
def firewall(place: Place, address: str, *ports: str) -> Iterator[None]:
    """Reject connections to these ports of an address of the machine."""
    place.host.check_output("nft add table inet test_firewall")
    rule = f"ip daddr {address} tcp dport {{ {', '.join(ports)} }} reject with tcp reset"
    # From the machine itself, and from its containers.
    for hook in ("output", "input"):
        chain = f"inet test_firewall {hook}"
        place.host.check_output("nft %s", f"add chain {chain} {{ type filter hook {hook} priority -200 ; }}")
        place.host.check_output("nft %s", f"add rule {chain} {rule}")
    try:
        yield
    finally:
        place.host.check_output("nft delete table inet test_firewall")


@contextmanager
def short_certificates(place: Place, seconds: int) -> Iterator[None]:
    """Have the CA issue short-lived certificates."""
    before = place.host.check_output("cat %s", PEBBLE)
    settings = json.loads(before)
    settings["pebble"]["certificateValidityPeriod"] = seconds
    write = "printf '%%s' %s >" + PEBBLE + " && systemctl restart pebble"
    place.host.check_output(write, json.dumps(settings))
    try:
        yield
    finally:
        place.host.check_output(write, before)


def serial(place: Place) -> str:
    """Return the serial number of the served certificate; "" if there is none."""
    return str(place.host.run(f"{SHOWN} -serial").stdout.strip())


def test_run_reports_a_name_that_does_not_resolve_and_changes_nothing(place: Place) -> None:
    run = place.deploy(jupyterhub_url="https://nowhere.acme.test")
    assert run.code
    run.says("1 problem was found, nothing was changed")
    run.says("jupyterhub_url")
    run.says("nowhere.acme.test does not resolve on the machine")
    run.says("add an A record")


@pytest.mark.usefixtures("no_certificate")
def test_run_reports_a_name_that_the_ca_cannot_resolve(place: Place) -> None:
    """The machine resolves it by /etc/hosts, but the CA uses a DNS server that does not know it."""
    place.host.check_output(
        "mkdir -p /run/systemd/system/pebble.service.d && printf '%%s' %s"
        " >/run/systemd/system/pebble.service.d/dns.conf && systemctl daemon-reload && systemctl restart pebble",
        f"[Service]\nExecStart=\nExecStart=/usr/bin/pebble -config {PEBBLE} -dnsserver 192.0.2.1:53\n",
    )
    try:
        run = place.deploy()
    finally:
        place.host.check_output(
            "rm -r /run/systemd/system/pebble.service.d && systemctl daemon-reload && systemctl restart pebble"
        )
    assert run.code
    run.says(f"there is no certificate for {NAME}")
    run.says("the certificate authority finds no address for")
    assert f'Error occurred while resolving URL \\"{NAME}' in place.log("ingress")


@pytest.mark.usefixtures("no_certificate")
def test_run_reports_closed_ports(place: Place) -> None:
    with firewall(place, "192.0.2.2", "80", "443"):
        run = place.deploy()
    assert run.code
    run.says(f"The Hub runs, but browsers cannot reach it: there is no certificate for {NAME}")
    run.says(f"the certificate authority cannot reach {NAME} on port 80 or 443")
    run.says("open TCP ports 80 and 443 in the firewalls of the machine and of its provider")
    run.says("it resolves to 192.0.2.2")
    # Depending on the challenge that was tried last, the error type is "connection" or "unauthorized".
    assert re.search(r"connection refused|Failed to connect to", place.log("ingress"))
    # Once the ports are open, the next run does not wait for Caddy's own retry.
    place.deploy().succeeded()


@pytest.mark.usefixtures("no_certificate")
def test_run_reports_that_the_ca_refuses_the_name(place: Place) -> None:
    run = place.deploy(**REFUSED)
    assert run.code
    run.says("the certificate authority gives no certificates for refused.acme.test")
    run.says("certificate of your own (ingress_caddy.certificate_file)")
    assert "rejectedIdentifier" in place.log("ingress")


@pytest.mark.usefixtures("no_certificate")
def test_run_reports_an_unreachable_ca(place: Place) -> None:
    with firewall(place, "192.0.2.1", "14000"):
        run = place.deploy()
    assert run.code
    run.says("the certificate authority cannot be reached from the machine")
    assert "connection refused" in place.log("ingress")


@pytest.mark.usefixtures("no_certificate")
def test_run_reports_an_untrusted_ca(place: Place) -> None:
    run = place.deploy(ingress_caddy={"directory_url": ACME})
    assert run.code
    run.says("does not trust the certificate authority's own certificate")
    run.says("set ingress_caddy.ca_file")


@pytest.mark.usefixtures("no_certificate")
def test_certificate_is_renewed_once_the_ca_is_back(place: Place) -> None:
    """Caddy renews when a third of the lifetime is left; it checks at its start, and every ten minutes."""
    with short_certificates(place, 180):
        place.deploy().succeeded()
        first = serial(place)
        assert first
        place.host.check_output("sh -ec %s", UNTIL_RENEWED)
        with firewall(place, "192.0.2.1", "14000"):
            place.host.check_output("docker restart jupyterhub-ingress")
            run = place.deploy().succeeded()
            # The old certificate stays in use.
            assert serial(place) == first
            run.says("could not be renewed: the certificate authority cannot be reached")
            assert "could not get certificate from issuer" in place.log("ingress")
        # The CA is back.
        place.host.check_output("docker restart jupyterhub-ingress")
        eventually("the renewal", lambda: serial(place) not in ("", first), 120, every_s=1)
        assert "could not be renewed" not in place.deploy().succeeded().said


@pytest.mark.usefixtures("no_certificate")
def test_run_replaces_the_operator_s_own_certificate(place: Place) -> None:
    """Without replacing the container."""
    make = (
        "openssl req -quiet -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days %s -subj /CN=own"
        " -addext subjectAltName=DNS:%s -CA /etc/pebble/ca.pem -CAkey /etc/pebble/ca.key"
        " -addext basicConstraints=critical,CA:false -keyout /etc/own.key -out /etc/own.pem"
    )
    own = {"certificate_file": "/etc/own.pem", "key_file": "/etc/own.key"}
    place.host.check_output(make, "1", "other.acme.test")
    run = place.deploy(ingress_caddy=own)
    assert run.code
    run.says(f"cannot be used: it is not for {NAME}")
    place.host.check_output(make, "1", NAME)
    run = place.deploy(ingress_caddy=own).succeeded()
    run.says(f"The certificate of {NAME} expires on")
    run.says("Renew it")
    first, container = serial(place), place.host.check_output("docker inspect -f {{.Id}} jupyterhub-ingress")
    assert place.host.check_output("docker exec jupyterhub-ingress stat -c %a /etc/caddy/secrets/key.pem") == "600"

    place.host.check_output(make, "90", NAME)
    run = place.deploy(ingress_caddy=own).succeeded()
    assert "Renew it" not in run.said
    assert serial(place) not in ("", first)
    assert place.host.check_output("docker inspect -f {{.Id}} jupyterhub-ingress") == container
    assert place.deploy(ingress_caddy=own).succeeded().changes == []
