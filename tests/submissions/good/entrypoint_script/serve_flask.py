import os

from flask import Flask, jsonify, request
from peft import PeftModel
from transformers import AutoModelForCausalLM

app = Flask(__name__)
base = AutoModelForCausalLM.from_pretrained(
    "tiiuae/falcon-7b", revision="0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", device_map={"": 0}
)
model = PeftModel.from_pretrained(base, os.environ["ADAPTER"])


@app.route("/process", methods=["POST"])
def process():
    return jsonify(text=request.json["prompt"], tokens=[], logprob=0.0, request_time=0.0)


@app.route("/tokenize", methods=["POST"])
def tokenize():
    return jsonify(tokens=[], request_time=0.0)


@app.route("/decode", methods=["POST"])
def decode():
    return jsonify(text="", request_time=0.0)
