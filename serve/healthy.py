"""``python -m serve.healthy [PORT]``: the image's HEALTHCHECK: 0 when ready, else 1."""

import sys
import urllib.request


def healthy(port: int) -> bool:
    """Whether the worker at this machine's port answers /health with 200."""
    # No proxy: one set for the network must not get requests for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:  # refused, timed out, or a status over 400
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(int(sys.argv[1]) if len(sys.argv) > 1 else 80) else 1)
