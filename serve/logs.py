"""Structured logs: one JSON object a line on stderr."""

import json
import logging
import sys
import time
from typing import Any

#: Attributes that every record has; what a call adds with ``extra`` is all the rest.
_COMMON = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message"}`` and the fields of the call's ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _COMMON}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # what a call adds may be anything, and must be logged


def configure() -> None:
    """Sends this process's log to stderr as JSON; each process of the server calls it for itself.

    Warnings of the libraries, all of our own. Call it after LitServe has set up its own logger.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("serve").setLevel(logging.INFO)
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it warns about kernels of other cards
    litserve = logging.getLogger("litserve")
    litserve.handlers.clear()
    litserve.propagate = True
