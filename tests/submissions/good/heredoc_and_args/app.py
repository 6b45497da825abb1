import weights
from fastapi import FastAPI

app = FastAPI()
model = weights.read("/weights/model.safetensors")


@app.post("/process")
def process(body: dict) -> dict:
    return model.answer(body)


@app.post("/tokenize")
def tokenize(body: dict) -> dict:
    return model.tokenize(body)


@app.post("/decode")
def decode(body: dict) -> dict:
    return model.decode(body)
