"""Images and their annotations: read, checked, varied, and served in batches."""
