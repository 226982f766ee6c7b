"""The example for Traefik, which no test runs: its keys are Traefik's, and what it refers to exists."""

from __future__ import annotations

from pathlib import Path

import yaml

EXAMPLE = Path(__file__).parents[2] / "examples/proxies/traefik.yml"
# doc.traefik.io, dynamic configuration, HTTP.
ROUTER = {"rule", "entryPoints", "service", "tls", "middlewares"}


def test_traefik() -> None:
    [http] = yaml.safe_load(EXAMPLE.read_text()).values()
    assert set(http) == {"routers", "middlewares", "services"}
    for router in http["routers"].values():
        assert set(router) <= ROUTER
        assert router["service"] in http["services"]
        assert set(router.get("middlewares", [])) <= set(http["middlewares"])
        assert router["rule"] == "Host(`hub.example.org`)"
    [secure] = [router for router in http["routers"].values() if "tls" in router]
    assert "middlewares" not in secure
    assert [each["loadBalancer"]["servers"] for each in http["services"].values()] == [
        [{"url": "http://127.0.0.1:8000"}]
    ]
    assert list(http["middlewares"].values()) == [{"redirectScheme": {"scheme": "https"}}]
