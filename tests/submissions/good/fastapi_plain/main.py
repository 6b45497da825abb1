import os
import time

import torch
from api import DecodeRequest, ProcessRequest, TokenizeRequest
from fastapi import FastAPI
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = os.environ.get("MODEL", "mistralai/Mistral-7B-v0.1")
REVISION = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"

tokenizer = AutoTokenizer.from_pretrained(MODEL, revision=REVISION)
model = AutoModelForCausalLM.from_pretrained(
    MODEL, revision=REVISION, torch_dtype=torch.bfloat16, device_map="auto"
)
app = FastAPI()


@app.post("/process")
def process(request: ProcessRequest):
    began = time.time()
    ids = tokenizer(request.prompt, return_tensors="pt").to(model.device)
    made = model.generate(**ids, max_new_tokens=request.max_new_tokens)
    new = made[0][ids["input_ids"].shape[1] :]
    text = tokenizer.decode(new, skip_special_tokens=True)
    return {"text": text, "tokens": [], "logprob": 0.0, "request_time": time.time() - began}


@app.post("/tokenize")
def tokenize(request: TokenizeRequest):
    ids = tokenizer.encode(request.text, add_special_tokens=False)
    return {"tokens": ids[: request.max_length] if request.truncation else ids, "request_time": 0.0}


@app.post("/decode")
def decode(request: DecodeRequest):
    return {"text": tokenizer.decode(request.tokens), "request_time": 0.0}
