"""Keep the certificates of a bundle that the distribution does not have.

The host's bundle includes the distribution's certificate authorities; only the
others (a company's own, for example) are written where update-ca-certificates looks.
"""

from __future__ import annotations

import re
import ssl
import sys
from pathlib import Path

DISTRIBUTION = Path("/usr/share/ca-certificates")
ADDED = Path("/usr/local/share/ca-certificates/host")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def certificates(text: str) -> dict[bytes, str]:
    """Return the certificates of a PEM file's text, by their DER encoding."""
    return {ssl.PEM_cert_to_DER_cert(pem): pem for pem in CERTIFICATE.findall(text)}


def main(bundle: Path) -> None:
    """Write each certificate that only the bundle has to a separate file."""
    known = {
        der
        for path in DISTRIBUTION.rglob("*.crt")
        for der in certificates(path.read_text(encoding="utf-8", errors="replace"))
    }
    ADDED.mkdir(parents=True, exist_ok=True)
    wanted = certificates(bundle.read_text(encoding="utf-8", errors="replace"))
    added = [pem for der, pem in wanted.items() if der not in known]
    for number, pem in enumerate(added):
        (ADDED / f"host-{number:03}.crt").write_text(pem + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
