"""Losses, augmentation, the train step and batches of trials."""
