"""Filling masks between annotated slices."""
