"""The merged model in another's format: made by a library, asked by who reads it before it counts.

Open ``stage.py`` first: a causal model becomes a GGUF for llama.cpp, by its converter. Others
become ONNX, see ``onnx/``. ``converting.py`` and ``engine.py`` are read by other processes: the one
by llama.cpp's own converter, the other by llama.cpp's environment.
"""
