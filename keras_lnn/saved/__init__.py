"""Saved models: their signature, loading and checking them, prediction, export with a card, weights from PyTorch.

It imports the data, the tasks and the folders of runs; evaluation and training import it.
"""
