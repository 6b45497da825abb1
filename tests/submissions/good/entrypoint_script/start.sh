#!/bin/sh
set -eu
# Fetched once; a second start finds it.
ADAPTER=${ADAPTER_DIR:-/models/adapter}
if [ ! -f "$ADAPTER/adapter_config.json" ]; then
  huggingface-cli download someone/llama-free-lora --revision 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567 --local-dir "$ADAPTER"
fi
export ADAPTER
exec waitress-serve --host=0.0.0.0 --port=80 serve_flask:app
