"""``python -m serve --model FOLDER``: serves it until a signal or a failure."""

import argparse
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from serve import logs
from serve.config import ServeConfig
from serve.engine.kinds import check_engine, kind_of
from serve.startup import (
    StartError,
    check_device,
    check_model_dir,
    check_port,
    load_config,
    load_text,
)
from serve.state import STOP_SIGNALS, State, children_die_with_this_process, hold_signals

if TYPE_CHECKING:
    from serve.supervisor import Server

# Read by OpenMP when torch is first imported, in the worker that is started from here. Threads that
# spin while they wait slow a busy machine down several times; those that sleep at once must be
# woken for every product. Some ten microseconds of spinning are between two products.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
# The model folder holds all there is to load, yet bitsandbytes would ask the hub for kernels.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the HTTP process is a fork

#: Seconds that an unused connection stays open. uvicorn's 5 s end while clients that answer others
#: first still mean to use it: their next request then fails on its way.
KEEP_ALIVE_S = 75

EPILOG = """
examples:
  python -m serve --model runs/cpu/quantized
  python -m serve --model runs/4090/quantized --config serve.json --host 0.0.0.0 --port 8080

serve.json holds settings of the recipe's serve section, such as
  {"context": 2048, "overflow": "truncate_left", "deadline_s": 600}

SIGTERM or Ctrl+C: accepted requests are finished (drain_s), new ones get 503; a second one ends
the server at once.

exit codes: 0 stopped by SIGINT or SIGTERM, 1 the model could not be loaded or the worker died again
and again, 2 something to put right before the server can start
"""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serve",
        description="Serves a model folder at POST /process, /tokenize, /decode and GET /health,"
        " /metrics.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="self-contained Hugging Face folder: config.json, *.safetensors, tokenizer.json",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="JSON file of serve settings (default: none)"
    )
    parser.add_argument(
        "--port", "--set-port", type=int, help="TCP port, 1024 to 65535 (default: 8080)"
    )
    parser.add_argument("--host", help="127.0.0.1 (default), 0.0.0.0 or :: (all interfaces)")
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="where the model runs (default: cpu)",
    )
    return parser.parse_args(arguments)


def stop_on_signals(state: State) -> None:
    """Makes the first SIGTERM or SIGINT drain the server, and the second end it.

    Children inherit the handler by fork; they end on the main process's word only.
    """
    main_process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == main_process:
            state.stopping = state.draining  # by the second signal only
            state.draining = True
        elif state.stopping:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)


def end_children(state: State) -> None:
    """Ends what LitServe has left: it cleans up by itself only once the HTTP port is open."""
    state.stopping = True  # children heed SIGTERM from now on
    children = multiprocessing.active_children()
    # All are told before any is waited for.
    for child in children:
        child.terminate()
    for child in children:
        child.join(timeout=5)
        child.kill()


def run(server: "Server", config: ServeConfig) -> int:
    """Runs the server until a signal (0) or until it cannot go on (1)."""
    from serve.supervisor import ServerLost

    children_die_with_this_process()
    stop_on_signals(server.state)
    hold_signals()  # until the server watches
    try:
        server.run(
            host=config.host,
            port=config.port,
            # One: State.in_flight has one writer, hence no lock.
            num_api_servers=1,
            generate_client_file=False,  # else LitServe writes client.py where it was started
            timeout_keep_alive=KEEP_ALIVE_S,
            log_level="warning",
            log_config=None,  # uvicorn's would set up handlers beside serve.logs
            access_log=False,
        )
    except (ServerLost, EOFError, OSError) as error:
        # EOFError, OSError: what talking to the queue's dead process raises in LitServe.
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        end_children(server.state)
    return 0


def main(arguments: list[str]) -> int:
    """Checks, builds and runs the server; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        config = load_config(options.config, {"host": options.host, "port": options.port})
        check_model_dir(options.model)
        check_engine(kind_of(options.model), config)
        check_device(config, options.device)
        check_port(config.host, config.port)
        logs.configure()
        text = load_text(options.model)
    except StartError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2

    # Imported late: LitServe takes seconds, and a mistake is to be told at once.
    from serve.app import build_server

    return run(build_server(options.model, text, config, options.device), config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
