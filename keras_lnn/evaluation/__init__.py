"""From truth and predictions to metrics with intervals and warnings, for classes, labels and segmentation.

It also finds out on which images of a data set a model may be measured. It imports the statistics, the tasks and the
saved models; training and comparison import it.
"""
