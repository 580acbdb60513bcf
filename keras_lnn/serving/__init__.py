"""A model over HTTP: a local page to try it, and the same predictions for programs."""
