import sys
import urllib.request

# From inside the container: this is the probe's address, not where the server listens.
try:
    with urllib.request.urlopen("http://127.0.0.1:80/health", timeout=5) as reply:
        sys.exit(0 if reply.status == 200 else 1)
except OSError:
    sys.exit(1)
