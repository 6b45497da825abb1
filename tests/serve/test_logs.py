"""Log lines are JSON objects, whatever is in them."""

import json
import logging
import math
import sys

from serve.logs import JsonFormatter


def test_a_line_is_one_object_with_the_extra_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "serve.x", "levelname": "INFO", "levelno": 20, "msg": "%s\n%d", "args": ("a", 5)}
    )
    record.id, record.seconds, record.odd = "r1", 0.25, {1}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    content = json.loads(line)
    assert content.pop("time").endswith("Z")
    assert content == {
        "level": "info",
        "logger": "serve.x",
        "message": "a\n5",
        "id": "r1",
        "seconds": 0.25,
        "odd": "{1}",
    }


def test_a_traceback_stays_in_the_line() -> None:
    try:
        math.sqrt(-1)
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    line = JsonFormatter().format(record)
    assert "\n" not in line and "math domain error" in json.loads(line)["traceback"]
