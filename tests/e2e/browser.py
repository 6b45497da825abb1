"""A headless Chromium, driven through its DevTools protocol; no driver program is needed.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
SECONDS = 60.0


def program() -> str | None:
    """The browser of this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab.

    Attributes:
        faults: errors of scripts, of the console and of the content security policy.
        requests: addresses that were asked for.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers, self._session = socket, itertools.count(1), ""
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser; events that come before the answer are noted."""
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": params}
        self._socket.send(
            json.dumps(asked | ({"sessionId": self._session} if self._session else {}))
        )
        while True:
            told = self._read(SECONDS)
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result

    def _read(self, seconds: float) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._socket.recv(timeout=seconds))
        params = told.get("params", {})
        match told.get("method"):
            case "Runtime.exceptionThrown":
                self.faults.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.faults.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.faults.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True
        return told

    def open(self, file: Path, width: int, height: int, scheme: str) -> None:
        """Show a file in a window of that size, to a user who likes it ``light`` or ``dark``."""
        phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        liked = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=liked)
        self._loaded = False
        self.call("Page.navigate", url=file.absolute().as_uri())
        while not self._loaded:
            self._read(SECONDS)

    def value(self, expression: str) -> Any:
        """What a script's expression is, as JSON knows it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def point(self, x: float, y: float) -> None:
        """Move the pointer there, pixels from the window's corner."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with a profile of its own in ``folder``, gone when the body ends."""
    name = program()
    assert name
    words = [name, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        # No proxy: the browser is on this machine, whatever the network's is.
        with connect(_address(folder, process), max_size=None, proxy=None) as socket:
            yield Page(socket)
            with contextlib.suppress(Exception):
                socket.send(json.dumps({"id": 0, "method": "Browser.close"}))
    finally:
        process.terminate()
        process.wait(SECONDS)


def _address(folder: Path, process: "subprocess.Popen[bytes]") -> str:
    """Where the browser listens: it writes port and path into its profile."""
    file, until = folder / "DevToolsActivePort", time.monotonic() + SECONDS
    while not (file.is_file() and len(file.read_text().split()) == 2):
        assert process.poll() is None, (folder / "log").read_text(errors="replace")
        assert time.monotonic() < until, "the browser does not listen"
        time.sleep(0.1)
    port, path = file.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"
