"""``python -m serve.launch``: what the image starts: fetches the weights, serves them at port 80.

While the weights come, /health says ``loading`` and every other request is closed unanswered. The
challenge's organizers take any HTTP reply for a sign that the evaluation may begin, so there must
be none before the weights are here.
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from serve import logs
from serve.__main__ import run
from serve.config import ServeConfig
from serve.fetch import FetchError, Progress, fetch, read_reference
from serve.startup import StartError, check_model_dir, load_config, load_text
from serve.state import STOP_SIGNALS

BACKLOG = 2048  # connections that wait, as uvicorn's


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line; every default is the image's."""
    parser = argparse.ArgumentParser(
        prog="python -m serve.launch",
        description="Fetches the weights that weights.json names, checks them and serves them.",
    )
    parser.add_argument(
        "--model", type=Path, default=Path("model"), metavar="FOLDER",
        help="where the weights are, or will be (default: model)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, default=Path("weights.json"), metavar="FILE",
        help="what they are and where they come from; without such a file they must be there",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, default=Path("serve.json"), metavar="FILE",
        help="serve settings; without such a file the defaults hold",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=80, help="TCP port (default: 80)")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default=os.environ.get("ONEDAY_DEVICE", "cpu"),
        help="where the model runs (default: $ONEDAY_DEVICE, else cpu)",
    )  # fmt: skip
    return parser.parse_args(arguments)


def open_door(port: int) -> socket.socket:
    """The socket that the container is reached by, listening on all interfaces.

    Raises:
        StartError: the port is taken, or not for this user.
    """
    door = socket.socket()
    # A restart must not wait for the last run's connections to time out.
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(("0.0.0.0", port))
    except OSError as error:
        door.close()
        remedy = "choose another one with --port"
        if isinstance(error, PermissionError):
            remedy = (
                "Docker lets every user open it; elsewhere start the container with"
                " --sysctl net.ipv4.ip_unprivileged_port_start=0"
            )
        raise StartError(f"port {port} cannot be used: {error.strerror}; {remedy}") from None
    door.listen(BACKLOG)
    return door


@contextmanager
def loading(door: socket.socket, progress: Progress) -> Iterator[None]:
    """Answers /health at the door meanwhile, and nothing else."""
    server = ThreadingHTTPServer(("", 0), _loading_handler(progress), bind_and_activate=False)
    server.socket.close()
    server.socket = door
    # 0.05 s: shutdown() waits for a look at the flag, and the default is one in 0.5 s.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()  # no server_close(): the door stays open for uvicorn
        thread.join()


def _loading_handler(progress: Progress) -> type[BaseHTTPRequestHandler]:
    class Loading(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/health":
                return
            answer = {"status": "loading", "reason": f"the weights are fetched: {progress}"}
            body = json.dumps(answer).encode()
            self.send_response(503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            """Closed unanswered."""

        def log_message(self, *words: object) -> None:
            """Nothing: the log is for what happens to the weights."""

    return Loading


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """As process 1 of a container we would never hear a SIGTERM that has no handler.

    What was fetched stays and is gone on with, so there is nothing to put in order.
    """
    os._exit(0)


def get_weights(weights: Path, model: Path, door: socket.socket) -> None:
    """Makes the model folder whole, if there is a reference to what it holds.

    Raises:
        FetchError: it cannot be.
    """
    if not weights.is_file():
        return
    for number in STOP_SIGNALS:
        signal.signal(number, _end_at_once)
    progress = Progress()
    with loading(door, progress):
        fetch(read_reference(weights), model, progress)


def _free_port() -> int:
    """For LitServe's own socket, which takes no port below 1024; nobody needs to know it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(path: Path) -> ServeConfig:
    inner = {"host": "127.0.0.1", "port": _free_port()}
    return load_config(path if path.is_file() else None, inner)


def main(arguments: list[str]) -> int:
    """Fetches, checks, serves; returns the exit code, as ``python -m serve`` does."""
    options = parse_arguments(arguments)
    logs.configure()
    try:
        config = _config(options.config)
        door = open_door(options.port)
        get_weights(options.weights, options.model, door)
        check_model_dir(options.model)
        text = load_text(options.model)
    except (StartError, FetchError) as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2 if isinstance(error, StartError) else 1

    from serve.app import build_server

    server = build_server(options.model, text, config, options.device)
    server.doors.append(door)
    return run(server, config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
