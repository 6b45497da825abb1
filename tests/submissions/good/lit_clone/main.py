from fastapi import FastAPI
from helper import cut

app = FastAPI()
BASE = "checkpoints/base"


@app.post("/process")
async def process_request(body: dict) -> dict:
    return {"text": cut("", body.get("stop_sequences", [])), "tokens": [], "logprob": 0.0,
            "request_time": 0.0}


@app.post("/tokenize")
async def tokenize(body: dict) -> dict:
    return {"tokens": [], "request_time": 0.0}


@app.post("/decode")
async def decode(body: dict) -> dict:
    return {"text": "", "request_time": 0.0}
