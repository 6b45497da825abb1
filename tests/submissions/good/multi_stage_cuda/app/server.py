import uvicorn
from fastapi import FastAPI
from huggingface_hub import snapshot_download

app = FastAPI()
FOLDER = snapshot_download("openlm-research/open_llama_7b_v2", revision="0a1b2c3d4e5f60718293a4b5c6d7e8f901234567")


@app.get("/health")
def health():
    return {"folder": FOLDER}


@app.post("/process")
async def process(body: dict):
    return {"text": "", "tokens": [], "logprob": 0.0, "request_time": 0.0}


@app.post("/tokenize")
async def tokenize(body: dict):
    return {"tokens": [], "request_time": 0.0}


@app.post("/decode")
async def decode(body: dict):
    return {"text": "", "request_time": 0.0}


if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=80)
