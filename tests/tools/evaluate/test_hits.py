"""``tools.evaluate.hits``: what the rules did, from the worker's own figures."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from tools.evaluate.hits import parse, rule_hits

TEXT = """\
# HELP oneday_rule_hits_total What the output rules did.
# TYPE oneday_rule_hits_total counter
oneday_rule_hits_total{rule="choice",step="cut"} 12.0
oneday_rule_hits_total{rule="choice",step="extract"} 0.0
oneday_rule_hits_total{rule="sums, \\"worked\\"",step="format"} 3.0
# HELP oneday_requests_total Requests answered.
# TYPE oneday_requests_total counter
oneday_requests_total{route="/process",status="200"} 99.0
"""


def test_hits_by_rule_and_step() -> None:
    assert parse(TEXT) == {
        "choice": {"cut": 12, "extract": 0},
        'sums, "worked"': {"format": 3},
    }


def test_a_worker_without_rules_has_none() -> None:
    assert parse("") == {}


def test_read_over_http() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(TEXT.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.handle_request, daemon=True).start()
    assert rule_hits(f"http://127.0.0.1:{server.server_port}")["choice"]["cut"] == 12
    server.server_close()
