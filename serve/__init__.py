"""The worker: one model behind the challenge's HTTP contract."""
