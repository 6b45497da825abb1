"""What looks at one row at a time, spread over processes or machines by ``datatrove``.

Open ``executor.py`` first. Whatever is spread is a function and its arguments, in order; results
come back in that order, so that rows and their accounts are those of one process.
"""
