"""Downloads of HELM's data, each whole or not at all."""

import os
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tools.console import bar

HUB = "https://huggingface.co"
SECONDS = 30  # without a byte; then a server is taken for dead
_BLOCK = 2**20


class Fetcher:
    """Gets files; what one try showed about a host or an archive is not tried again.

    Args:
        folder: what is got goes below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tried: dict[str, str] = {}  # by URL
        self._dead: dict[str, str] = {}  # by host

    def get(self, urls: Sequence[str], kind: str, path: str) -> str:
        """Get one file, archive, or sign of a hub data set, from the first address that has it.

        Args:
            urls: its addresses; a hub data set's id where ``kind`` is ``hub``.
            kind: ``file``, ``tar`` or ``hub``, which is only asked whether it is there.
            path: where it goes, below the folder.

        Returns:
            Why it could not be had, by address; empty when it could.
        """
        faults = []
        for url in urls:
            why = self._once(url, kind, path)
            if not why:
                return ""
            faults.append(f"{url}: {why}")
        return ", ".join(faults)

    def _once(self, url: str, kind: str, path: str) -> str:
        if kind == "hub":
            url = f"{os.environ.get('HF_ENDPOINT', HUB)}/api/datasets/{url}"
        if url not in self._tried:
            host = urlsplit(url).netloc
            self._tried[url] = self._dead.get(host) or self._get(url, kind, path)
        return self._tried[url]

    def _get(self, url: str, kind: str, path: str) -> str:
        target = self._folder / path
        # By process: two evaluations may fetch into one cache.
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            if kind == "hub":
                urllib.request.urlopen(url, timeout=SECONDS).close()
                return ""
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(url, part)
            if kind == "tar":
                _unpack(part, target)
            else:
                part.replace(target)
        except urllib.error.HTTPError as error:  # first, being a URLError, too: its host is alive
            return f"the server says {error.code} {error.reason}"
        except (OSError, tarfile.TarError) as error:  # URLError is an OSError
            why = f"cannot be downloaded ({getattr(error, 'reason', None) or error})"
            if isinstance(error, urllib.error.URLError | TimeoutError):
                self._dead[urlsplit(url).netloc] = why
            return why
        finally:
            part.unlink(missing_ok=True)
        return ""


def _download(url: str, part: Path) -> None:
    with urllib.request.urlopen(url, timeout=SECONDS) as reply, part.open("wb") as file:
        total = int(reply.headers.get("Content-Length") or 0)
        with bar(total, f"data: {Path(urlsplit(url).path).name}", "B") as progress:
            progress.unit_scale = True
            while block := reply.read(_BLOCK):
                file.write(block)
                progress.update(len(block))
        # Where a connection breaks, read just ends: urllib raises nothing for a read in blocks.
        if total and file.tell() != total:
            raise OSError(f"{file.tell()} of {total} bytes came")


def _unpack(archive: Path, target: Path) -> None:
    """Unpack into ``target``; an archive of one folder becomes that folder, as HELM does it."""
    folder = archive.with_suffix(".unpacked")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")  # no path or link that leads out of the folder
        inside = list(folder.iterdir())
        whole = inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
        shutil.rmtree(target, ignore_errors=True)
        whole.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
