"""A worker without a model: the wire contract over a function from prompt to answer."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Answer = Callable[[str], str]


class _Handler(BaseHTTPRequestHandler):
    server: "StubWorker"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = json.dumps(getattr(self.server, self.path[1:])(body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def do_GET(self) -> None:
        """/metrics: a rule that cut twice, and memory."""
        reply = (
            b'oneday_rule_hits_total{rule="letter",step="cut"} 2.0\n'
            b"oneday_worker_memory_peak_bytes 3.0e+09\noneday_gpu_memory_bytes 0.0\n"
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class StubWorker(ThreadingHTTPServer):
    """Answers while its ``with`` block lasts; ``asked`` holds the bodies of /process.

    A token is a character.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> "StubWorker":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()
        self.server_close()

    def process(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        text = self.answer(body["prompt"])
        tokens = [{"text": character, "logprob": -0.5} for character in text]
        return {"text": text, "tokens": tokens, "logprob": -0.5 * len(text), "request_time": 0.01}

    def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens = [ord(character) for character in body["text"]]
        cut = body["max_length"] if body["truncation"] else None
        return {"tokens": tokens[:cut], "request_time": 0.01}

    def decode(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"text": "".join(map(chr, body["tokens"])), "request_time": 0.01}
