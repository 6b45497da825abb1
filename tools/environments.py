"""Environments beside the main one, for what cannot be installed into it."""

import os
from dataclasses import dataclass
from pathlib import Path

from tools.errors import UserError


@dataclass(frozen=True)
class Environment:
    """One of them; where it lies is asked anew each time.

    Attributes:
        holds: what it is there for, in words.
        target: Make's word that installs it; also the folder's name, behind ``.venv-``.
        mark: below its site-packages; where this is not there, nothing is installed.
    """

    holds: str
    target: str
    mark: str

    def folder(self) -> Path:
        """Where it is, or would be: ``ONEDAY_…_VENV`` may say another place."""
        name = f"ONEDAY_{self.target.upper()}_VENV"
        return Path(os.environ.get(name, f".venv-{self.target}")).absolute()

    def packages(self) -> Path | None:
        """Its site-packages, if what it is there for is in them."""
        found = sorted(self.folder().glob(f"lib/python*/site-packages/{self.mark}"))
        return found[0].parents[self.mark.count("/")] if found else None

    def needed(self) -> Path:
        """Its site-packages.

        Raises:
            UserError: it is not installed.
        """
        found = self.packages()
        if found is None:
            remedy = f"install it with: make {self.target}"
            raise UserError(f"{self.holds} is not installed in {self.folder()}; {remedy}")
        return found

    def python(self) -> str:
        """Its Python, for a command line.

        Raises:
            UserError: it is not installed.
        """
        self.needed()
        return str(self.folder() / "bin" / "python")
