"""The merged model as a GGUF, for llama.cpp: made by its converter, asked before it counts.

Open ``stage.py`` first. ``converting.py`` and ``engine.py`` are read by other processes: the one by
llama.cpp's own converter, the other by llama.cpp's environment.
"""
