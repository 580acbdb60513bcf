"""The models: one family of networks per file; a model is a builder function with a decorator."""
