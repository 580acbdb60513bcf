"""The embedded data: images that are drawn from a seed and are the same everywhere."""
