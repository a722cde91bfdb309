"""From a folder of unlabelled scans to a worklist for annotators, and back."""
