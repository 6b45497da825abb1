"""Formats that llm-compressor makes, in the layout of compressed-tensors.

Open ``compressor.py`` first. ``compressing.py`` is read by the process that has llm-compressor.
"""
