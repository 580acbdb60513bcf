"""Answers that are masks: measured against the truth, reported, drawn, and written in the size of their images."""
