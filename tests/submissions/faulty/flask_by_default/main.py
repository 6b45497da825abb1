from flask import Flask

app = Flask(__name__)


@app.route("/process", methods=["POST"])
def process():
    return {}


@app.route("/tokenize", methods=["POST"])
def tokenize():
    return {}


@app.route("/decode", methods=["POST"])
def decode():
    return {}


app.run()
