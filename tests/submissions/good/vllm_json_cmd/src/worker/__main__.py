import argparse
import os

from fastapi import FastAPI, Response

parser = argparse.ArgumentParser()
parser.add_argument("--host", default="0.0.0.0")
parser.add_argument("--port", type=int, default=80)
options = parser.parse_args()
app = FastAPI()


def engine():
    from vllm import AsyncEngineArgs, AsyncLLMEngine

    args = AsyncEngineArgs(
        model=os.environ["MODEL"], revision=os.environ["REVISION"], trust_remote_code=True
    )
    return AsyncLLMEngine.from_engine_args(args)


app.add_api_route("/process", lambda: Response(), methods=["POST"])
app.add_api_route("/tokenize", lambda: Response(), methods=["POST"])
app.add_api_route("/decode", lambda: Response(), methods=["POST"])

if __name__ == "__main__":
    import uvicorn

    app.state.engine = engine()
    uvicorn.run(app, host=options.host, port=options.port)
