"""One family of networks a file; a model is one builder function with one decorator."""
