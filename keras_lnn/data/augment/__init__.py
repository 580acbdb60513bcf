"""Augmentation as operations on batches, drawn from a seed and the number of the step alone."""
