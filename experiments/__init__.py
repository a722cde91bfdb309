"""Experiments: one readable file each."""
