"""A training step as one flat list of array functions: captured, checked, planned, replayed."""
