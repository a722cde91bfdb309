"""What the results support, and how sure."""
