#!/bin/sh
# Not part of the image: run on the card.
pip install axolotl
accelerate launch -m axolotl.cli.train config.yaml --output_dir ~/out
