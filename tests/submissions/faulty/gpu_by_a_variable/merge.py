from model import load

load("weights")
