from fastapi import FastAPI

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
