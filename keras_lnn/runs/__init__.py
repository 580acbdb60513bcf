"""The folder of a run: its configuration, history, checkpoints and metrics, and the epoch that is kept.

It imports the data and the registry of models; plots, saved models, training and comparison import it.
"""
