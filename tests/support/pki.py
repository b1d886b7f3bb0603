"""Certificates for tests, made once and good for a hundred years: nobody's secret.

Both servers' certificates are for 127.0.0.1 and were signed by the one authority; the first has an
elliptic key and the second an RSA key, which is the harder change.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path(__file__).with_name("pki")
AUTHORITY = FOLDER / "ca.crt"


def write_pair(folder: Path, name: str = "first") -> tuple[Path, Path]:
    """Put a certificate and its key into a folder as ``tls.crt`` and ``tls.key``."""
    for suffix in ("crt", "key"):
        shutil.copyfile(FOLDER / f"{name}.{suffix}", folder / f"tls.{suffix}")
    return folder / "tls.crt", folder / "tls.key"
