"""A model behind HTTP: a local page to try it, and the same predictions for programs."""
