"""Inference and scores on held-out volumes."""
