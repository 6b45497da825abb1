from setuptools import setup

setup(
    name="answers",
    version="1.0",
    py_modules=[],
    install_requires=[
        "fastapi",
        "torch>=2.0",
    ],
)
