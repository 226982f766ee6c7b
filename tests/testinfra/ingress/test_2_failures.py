"""No certificate, or no renewal: what the run says, and what Caddy's log does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ways_in import ACME, NAME, Place

SHOWN = f"openssl s_client -connect 192.0.2.2:443 -servername {NAME} </dev/null 2>/dev/null | openssl x509 -noout"
REFUSED = {"jupyterhub_url": "https://refused.acme.test"}
# A third of three minutes is left, and a second less.
UNTIL_RENEWED = f"""
end=$({SHOWN} -enddate | cut -d= -f2)
left=$(($(date --date "$end" +%s) - $(date +%s)))
[ $left -le 180 ]
sleep $((left > 59 ? left - 59 : 0))
"""
PEBBLE = "/etc/pebble/pebble.json"


@pytest.fixture
def no_certificate(place: Place) -> None:
    """Begin without one."""
    # Nor with an account: the ACME server forgets those when it is restarted, as no other does.
    place.forget_the_certificate()


@pytest.fixture(scope="module", autouse=True)
def certificate_again(place: Place) -> Iterator[None]:
    """Have one in the end."""
    yield
    place.forget_the_certificate()
    place.deploy().succeeded()


@contextmanager
def firewall(place: Place, address: str, *ports: str) -> Iterator[None]:
    """Refuse connections to an address of the machine on these ports."""
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
    """Have the authority give certificates that hardly last."""
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
    """Return the serial number of the certificate that is shown, "" where there is none."""
    return str(place.host.run(f"{SHOWN} -serial").stdout.strip())


def test_a_name_that_does_not_resolve_is_told_before_anything_is_changed(place: Place) -> None:
    run = place.deploy(jupyterhub_url="https://nowhere.acme.test")
    assert run.code
    run.says("1 problem was found, nothing was changed")
    run.says("jupyterhub_url")
    run.says("nowhere.acme.test does not resolve on the machine")
    run.says("add an A record")


@pytest.mark.usefixtures("no_certificate")
def test_the_authority_does_not_find_the_name(place: Place) -> None:
    """The machine does, by its own file; the authority is made to ask a server that knows nothing."""
    # A name in the machine's hosts that the ACME server, which asks DNS alone, does not find.
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
def test_ports_that_are_closed(place: Place) -> None:
    with firewall(place, "192.0.2.2", "80", "443"):
        run = place.deploy()
    assert run.code
    run.says(f"The Hub runs, but browsers cannot reach it: there is no certificate for {NAME}")
    run.says(f"the certificate authority cannot reach {NAME} on port 80 or 443")
    run.says("open TCP ports 80 and 443 in the firewalls of the machine and of its provider")
    run.says("it resolves to 192.0.2.2")
    # Whichever challenge was tried last: one names the port with the type "connection", the other "unauthorized".
    assert re.search(r"connection refused|Failed to connect to", place.log("ingress"))
    # Open again, the next run does not wait until Caddy would have tried by itself.
    place.deploy().succeeded()


@pytest.mark.usefixtures("no_certificate")
def test_the_authority_refuses(place: Place) -> None:
    run = place.deploy(**REFUSED)
    assert run.code
    run.says("the certificate authority gives no certificates for refused.acme.test")
    run.says("certificate of your own (ingress_caddy.certificate_file)")
    assert "rejectedIdentifier" in place.log("ingress")


@pytest.mark.usefixtures("no_certificate")
def test_the_authority_cannot_be_reached(place: Place) -> None:
    with firewall(place, "192.0.2.1", "14000"):
        run = place.deploy()
    assert run.code
    run.says("the certificate authority cannot be reached from the machine")
    assert "connection refused" in place.log("ingress")


@pytest.mark.usefixtures("no_certificate")
def test_an_authority_that_the_machine_does_not_trust(place: Place) -> None:
    run = place.deploy(ingress_caddy={"directory_url": ACME})
    assert run.code
    run.says("does not trust the certificate authority's own certificate")
    run.says("set ingress_caddy.ca_file")


@pytest.mark.usefixtures("no_certificate")
def test_renewal_and_an_authority_that_is_down_then(place: Place) -> None:
    """Caddy renews when a third of the lifetime is left; it looks when it is started, and every ten minutes."""
    with short_certificates(place, 180):
        place.deploy().succeeded()
        first = serial(place)
        assert first
        place.host.check_output("sh -ec %s", UNTIL_RENEWED)
        with firewall(place, "192.0.2.1", "14000"):
            place.host.check_output("docker restart jupyterhub-ingress")
            run = place.deploy().succeeded()
            # The old one goes on.
            assert serial(place) == first
            run.says("could not be renewed: the certificate authority cannot be reached")
            assert "could not get certificate from issuer" in place.log("ingress")
        # Up again.
        place.host.check_output("docker restart jupyterhub-ingress")
        for _ in range(30):
            if serial(place) not in ("", first):
                break
            place.host.run("sleep 1")
        assert serial(place) not in ("", first)
        assert "could not be renewed" not in place.deploy().succeeded().said


@pytest.mark.usefixtures("no_certificate")
def test_a_certificate_of_ones_own_and_its_renewal(place: Place) -> None:
    """The container stays when it is replaced; pages that are open connect anew."""
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
