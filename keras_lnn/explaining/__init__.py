"""Explanations of trained models: where they look, whether that is true, and what their liquid layers do."""
