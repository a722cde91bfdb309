"""Which volumes and slices are annotated."""
