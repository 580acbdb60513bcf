"""The embedded data: images generated from a seed, the same on every machine."""
