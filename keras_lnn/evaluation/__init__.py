"""From truth and predictions to metrics with intervals and warnings, for classes, labels and segmentation.

It imports the statistics and what probabilities decide; the tasks, training and comparison import it.
"""
