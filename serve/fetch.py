"""The served weights, fetched at start: by reference, resumed, checked, and never fetched twice.

Plain HTTP with ``Range`` serves the hub and any other address alike: a broken download goes on at
its byte, and each file is held against the SHA-256 that the run's manifest has.
"""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import logging
import os
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

log = logging.getLogger(__name__)

HUB = "https://huggingface.co"  # or what HF_ENDPOINT names, as in the hub's own client
KNOWN = ".verified.json"  # in the model folder: size, time and hash of files once hashed
PARTS = ".download"  # beside it: files that are not whole yet
BLOCK = 2**20  # bytes
TOGETHER = 4  # files fetched at once
TRIES = 8  # without one byte of progress, with pauses of 1, 2, 4, ... seconds between them
PAUSE_S = 30.0  # the longest of those pauses
TIMEOUT_S = 60.0  # for a connection, and for each block
FINAL = {400, 401, 403, 404, 410, 416, 451}  # asking again would not help

Tell = Callable[[int], object]


class FetchError(Exception):
    """The weights cannot be had; ``faults`` says why and what to do, one line each."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class _Broken(Exception):
    """The network failed, not the disk: worth another try."""


@dataclass(frozen=True)
class File:
    """One file of the model folder.

    Attributes:
        name: path in the folder, with slashes.
        size: bytes.
        sha256: hex.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Reference:
    """What a model folder must hold, and where that is to be had.

    Attributes:
        files: all files.
        address: URL that a file's name is put behind; empty where nobody published the weights:
            whoever rebuilt them mounts the folder, and other bytes are told, not refused.
    """

    files: tuple[File, ...]
    address: str


def read_reference(path: Path) -> Reference:
    """Reads ``weights.json`` as ``make submission`` writes it.

    Raises:
        FetchError: it is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(
            File(name, entry["size"], entry["sha256"]) for name, entry in value["files"].items()
        )
        address = _address(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FetchError(f"{path}: damaged ({error!r}); unpack the submission again") from None
    if outside := [file.name for file in files if not _inside(file.name)]:
        raise FetchError(f"{path}: files outside the model folder: {', '.join(outside)}")
    return Reference(files, address)


def _address(value: dict[str, Any]) -> str:
    if value["source"] == "hub":
        hub = os.environ.get("HF_ENDPOINT") or HUB
        return f"{hub.rstrip('/')}/{value['id']}/resolve/{value['revision']}"
    return str(value["url"]).rstrip("/") if value["source"] == "url" else ""


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


class Progress:
    """Bytes so far, of how many; several threads add to it."""

    def __init__(self, total: int = 0) -> None:
        self.total, self.done = total, 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """``count`` more bytes are here (fewer, where a file begins anew)."""
        with self._lock:
            self.done += count

    def __str__(self) -> str:
        return f"{self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB"


def fetch(reference: Reference, folder: Path, progress: Progress) -> int:
    """Makes the folder hold the reference's files; nothing is asked of the network if it does.

    Args:
        reference: what it must hold.
        folder: the model folder, made when it is not there.
        progress: told of each block.

    Returns:
        How many bytes were fetched.

    Raises:
        FetchError: with every file that cannot be had; what is there of it is kept for next time.
    """
    missing = wrong_files(reference, folder)
    if not missing:
        return 0
    if not reference.address:
        _tell_rebuilt(missing, folder)
        return 0
    progress.total = sum(file.size for file in missing)
    _check_room(missing, folder)
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool, _told(progress):
        one = lambda file: _faults(reference.address, file, folder, progress.add)  # noqa: E731
        faults = [fault for found in pool.map(one, missing) for fault in found]
    if faults:
        raise FetchError(*faults)
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    wrong_files(reference, folder)  # remembers them
    return progress.done


def wrong_files(reference: Reference, folder: Path) -> list[File]:
    """The files that are missing or have other bytes; what was hashed once is remembered."""
    known = _read_known(folder)
    found: dict[str, list[Any]] = {}
    for file in reference.files:
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size:
            continue
        stamp = [file.size, path.stat().st_mtime_ns]
        entry = known.get(file.name, [])
        found[file.name] = entry if entry[:2] == stamp else [*stamp, _sha256(path)]
    if found != known:
        with contextlib.suppress(OSError):  # a folder mounted read-only is hashed at each start
            _write_known(folder, found)
    return [file for file in reference.files if found.get(file.name, [])[2:] != [file.sha256]]


def _read_known(folder: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads((folder / KNOWN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_known(folder: Path, known: dict[str, list[Any]]) -> None:
    temporary = folder / f"{KNOWN}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(known), encoding="utf-8")
    temporary.replace(folder / KNOWN)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tell_rebuilt(wrong: list[File], folder: Path) -> None:
    """Weights that nobody published: the folder's own serve, though other bytes are worth a word.

    Raises:
        FetchError: there is no model in the folder.
    """
    if not (folder / "config.json").is_file():
        raise FetchError(
            f"{folder}: holds no model, and these weights were not published; make them with the"
            " train image and mount the folder, as the README says"
        )
    names = ", ".join(file.name for file in wrong)
    log.warning("the model is not, byte by byte, that of the manifest", extra={"files": names})


def _check_room(missing: list[File], folder: Path) -> None:
    """Says at once, not after an hour, that the disk is too small or not ours to write.

    Raises:
        FetchError: so it is.
    """
    try:
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(
            f"{folder}: the weights cannot be written there ({error.strerror}); mount a writable"
            " volume there, or a folder that holds them"
        ) from None
    have = sum(_size(folder / PARTS / file.name) for file in missing)
    needed, free = sum(file.size for file in missing) - have, shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(
            f"{folder}: the weights need {needed / 1e9:.1f} GB more and {free / 1e9:.1f} GB are"
            " free; free the disk or mount a larger volume there"
        )


@contextlib.contextmanager
def _told(progress: Progress) -> Iterator[None]:
    """A line in the log every ten seconds meanwhile."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(10):
            log.info("weights: %s", progress)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _faults(address: str, file: File, folder: Path, add: Tell) -> tuple[str, ...]:
    """Fetches one file; what was wrong with it, so that all files are tried and told of."""
    try:
        _fetch_file(f"{address}/{urllib.parse.quote(file.name)}", file, folder, add)
    except FetchError as error:
        return error.faults
    except OSError as error:  # of the disk: those of the network are tried again
        return (f"{file.name}: {error}; free the disk or mend the folder's rights",)
    return ()


def _fetch_file(url: str, file: File, folder: Path, add: Tell) -> None:
    """One file: from its first missing byte, checked, then renamed."""
    part = folder / PARTS / file.name
    part.parent.mkdir(parents=True, exist_ok=True)
    add(_size(part))
    found = ""
    for _ in range(2):  # what an earlier start left may be damaged: once again from the first byte
        _complete(url, part, file.size, add)
        if (found := _sha256(part)) == file.sha256:
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
            return
        add(-_size(part))
        part.unlink()
    raise FetchError(
        f"{url}: has SHA-256 {found}, the manifest says {file.sha256}; other weights were"
        " published there: publish the run's, or package the run again"
    )


def _complete(url: str, part: Path, size: int, add: Tell) -> None:
    """Reads until the part has all bytes, over as many connections as it takes.

    Raises:
        FetchError: the address refuses, or nothing came for ``TRIES`` tries.
        OSError: the disk is full, or fails: trying again would not help.
    """
    part.touch()  # an empty file has no byte to ask for, and must be there
    idle = 0
    while (have := _size(part)) < size:
        reason = "the connection ended"
        try:
            _read_on(url, part, size, add)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code in FINAL:
                raise FetchError(_refused(url, error.code)) from None
        except _Broken as error:
            reason = str(error)
        if _size(part) > have:
            idle = 0
            continue
        idle += 1
        if idle == TRIES:
            raise FetchError(f"{url}: no byte came in {TRIES} tries ({reason}); try again later")
        log.warning("weights: %s: %s; trying again", url, reason)
        time.sleep(min(2.0 ** (idle - 1), PAUSE_S))


def _read_on(url: str, part: Path, size: int, add: Tell) -> None:
    """Appends what one connection gives."""
    have = _size(part)
    # Not compressed: Range and the manifest count the file's own bytes.
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers)
    with _network():
        reply = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    with reply:
        whole = reply.status == 200  # this server gives no parts
        with part.open("wb" if whole else "ab") as out:
            add(-have if whole else 0)
            for block in _blocks(reply):
                out.write(block)
                add(len(block))
                if out.tell() > size:  # a stream without end must not fill the disk
                    break
            # The next start goes on at the size it finds: those bytes must be on the disk.
            out.flush()
            os.fsync(out.fileno())
    if _size(part) > size:
        add(-_size(part))
        part.unlink()
        raise FetchError(
            f"{url}: has more than the manifest's {size} bytes; other weights were published there"
        )


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Tells what the network raises from what the disk does: both raise OSError."""
    try:
        yield
    except urllib.error.HTTPError:  # an OSError, too, but it is the server's answer
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from None


def _blocks(reply: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _network():
            block = reply.read(BLOCK)
        if not block:
            return
        yield block


def _refused(url: str, code: int) -> str:
    whys = {401: "it is not public", 403: "it is not public", 416: "fewer bytes are there"}
    why = whys.get(code, "nothing is there")
    return f"{url}: HTTP {code}: {why}; the submission's author must publish the weights there"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
