"""Files as streams of bytes, gzip and zstandard unpacked on the way."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tools.data.reading.fault import Fault

GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
BLOCK = 2**18  # bytes read at once


def packing(head: bytes) -> str:
    """What a file's first bytes are packed with: ``gzip``, ``zstandard`` or nothing."""
    return {GZIP: "gzip", ZSTANDARD[:2]: "zstandard"}.get(head[:2], "")


def opened(path: Path, packed: str) -> IO[bytes]:
    """The unpacked bytes of a file.

    Raises:
        Fault: later, while it is read: the packed data are broken or end early.
    """
    if packed == "zstandard":
        return io.BufferedReader(_Zstandard(path), BLOCK)
    if packed == "gzip":
        return io.BufferedReader(_Gzip(path), BLOCK)
    return path.open("rb", buffering=BLOCK)


class _Unpacked(io.RawIOBase):
    """Bytes that a generator of blocks gives."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._blocks, self._rest = self._unpack(self._file), b""

    def _unpack(self, file: IO[bytes]) -> Iterator[bytes]:
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = block
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Gzip(_Unpacked):
    def _unpack(self, file: IO[bytes]) -> Iterator[bytes]:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            while block := _whole(stream.read, "gzip", (EOFError, zlib.error, OSError)):
                yield block


class _Zstandard(_Unpacked):
    def _unpack(self, file: IO[bytes]) -> Iterator[bytes]:
        import zstandard

        frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
        while packed := file.read(BLOCK):
            while packed:
                begun, data = True, packed
                yield _whole(
                    lambda _, d=data, f=frame: f.decompress(d), "zstandard", (zstandard.ZstdError,)
                )
                packed = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
        if begun:
            raise _broken("zstandard")


def _whole(read: Any, kind: str, faults: tuple[type[Exception], ...]) -> bytes:
    try:
        found: bytes = read(BLOCK)
    except faults:
        raise _broken(kind) from None
    return found


def _broken(kind: str) -> Fault:
    return Fault(
        f"its {kind} data are broken or end early; fetch or write the file anew", whole=True
    )
