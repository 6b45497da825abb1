"""From the recipe's sources to rows: train and validation for Axolotl, test and shots for HELM.

Open ``prepare.py`` first.
"""
