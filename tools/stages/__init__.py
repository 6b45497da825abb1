"""The stages on the clock: train, merge, quantize; each checks what it made before it counts.

Open ``train.py`` first. A stage never imports another: they meet in the run folder.
"""
