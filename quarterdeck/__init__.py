"""Quarterdeck's library: the jobs of a cluster from Python. It imports no Qt."""
