"""What the rules did and the memory it took, from the worker's own figures."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from tools.evaluate.measured import Measured, measured, parse

TEXT = """\
# HELP oneday_rule_hits_total What the output rules did.
# TYPE oneday_rule_hits_total counter
oneday_rule_hits_total{rule="choice",step="cut"} 12.0
oneday_rule_hits_total{rule="choice",step="extract"} 0.0
oneday_rule_hits_total{rule="sums, \\"worked\\"",step="format"} 3.0
# HELP oneday_requests_total Requests answered.
# TYPE oneday_requests_total counter
oneday_requests_total{route="/process",status="200"} 99.0
# TYPE oneday_worker_memory_bytes gauge
oneday_worker_memory_bytes 1.5e+09
# TYPE oneday_worker_memory_peak_bytes gauge
oneday_worker_memory_peak_bytes 2.5e+09
# TYPE oneday_gpu_memory_bytes gauge
oneday_gpu_memory_bytes 7.0
"""


def test_hits_by_rule_and_step() -> None:
    assert parse(TEXT).rules == {
        "choice": {"cut": 12, "extract": 0},
        'sums, "worked"': {"format": 3},
    }


def test_a_worker_without_rules_has_none() -> None:
    assert parse("") == Measured()


def test_memory_is_the_most_that_was_held() -> None:
    assert parse(TEXT).memory == {"resident_bytes": 2_500_000_000, "card_bytes": 7}


def test_of_two_workers_counts_are_added_and_the_larger_memory_stays() -> None:
    one = Measured({"a": {"cut": 1}, "b": {"cut": 2}}, {"resident_bytes": 9})
    other = Measured({"a": {"cut": 3, "extract": 1}}, {"resident_bytes": 5, "card_bytes": 4})
    both = one.with_earlier(other)
    assert both.rules == {"a": {"cut": 4, "extract": 1}, "b": {"cut": 2}}
    assert both.memory == {"resident_bytes": 9, "card_bytes": 4}
    assert one.rules["a"] == {"cut": 1} and other.rules["a"] == {"cut": 3, "extract": 1}


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
    assert measured(f"http://127.0.0.1:{server.server_port}").rules["choice"]["cut"] == 12
    server.server_close()
