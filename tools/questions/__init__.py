"""What HELM is asked: tiers, conf files, the files that scenarios read, the hidden stage's rows.

Open ``tiers.py`` first. Below the run folder, whose fingerprints tell which questions were asked.
"""
