"""Trained nets by name, and what the commands do with them: error rates, classes of pictures, features, probes."""
