"""Damaged and hostile input: one table of kinds, tried through the command lines."""
