"""A bearer token that stands in a file, where it is replaced before it expires."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from perdure.exceptions import UsageError


@dataclass(frozen=True)
class TokenFile:
    """Where a token is, such as a ServiceAccount's that Kubernetes renews in the pod.

    The file is read for every request and every connection of a worker, so that a renewed token
    is used at once.
    """

    path: str | os.PathLike[str]

    def read(self) -> str:
        """Return the token that is there now.

        Raises:
            UsageError: the file cannot be read, or holds none.
        """
        try:
            token = Path(self.path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the token file {self.path} cannot be read: {error}") from error
        if not token or any(character.isspace() for character in token):
            raise UsageError(f"the token file {self.path} holds no token")
        return token
