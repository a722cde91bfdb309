"""Volumes, readers, phantoms, splits and preprocessing."""
