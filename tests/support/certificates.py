"""A private certificate authority, and what it signs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority whose files are in a directory.

    Attributes:
        certificate: The file of its own certificate.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._authority = trustme.CA(organization_name=name)
        self.certificate = directory / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *, expired: bool = False) -> tuple[Path, Path]:
        """Return the files of a new certificate and its key, for this host or for a client."""
        now = dt.datetime.now(dt.timezone.utc)
        until = now - DAY if expired else now + DAY
        issued = self._authority.issue_cert(name, not_before=now - 2 * DAY, not_after=until)
        certificate, key = (self._directory / f"{name}.{kind}" for kind in ("pem", "key"))
        certificate.write_bytes(issued.cert_chain_pems[0].bytes())
        key.write_bytes(issued.private_key_pem.bytes())
        return certificate, key
