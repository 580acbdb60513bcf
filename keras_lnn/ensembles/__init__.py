"""Ensembles: runs joined into one model, whose prediction is the mean of their calibrated probabilities."""
