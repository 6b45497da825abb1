from transformers import AutoModelForCausalLM
from fastapi import FastAPI

model = AutoModelForCausalLM.from_pretrained("mistralai/Mistral-7B-v0.1", revision="main")
app = FastAPI()


@app.post("/process")
def process(body: dict) -> dict:
    return {"text": body["prompt"]}


@app.post("/tokenize")
def tokenize(body: dict) -> dict:
    return {"tokens": [ord(char) for char in body["text"]]}


@app.post("/decode")
def decode(body: dict) -> dict:
    return {"text": "".join(map(chr, body["tokens"]))}
