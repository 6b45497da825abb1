"""The merged model of a kind that is not causal as ONNX: written by transformers' own exporter.

Open ``stage.py`` first. ``writing.py`` and ``engine.py`` are read by other processes: the one has
the exporter's needs beside the main environment's torch and transformers, the other ONNX Runtime
alone.
"""
