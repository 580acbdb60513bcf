"""The kinds of task: what a network's outputs mean, how it is trained and measured, and what a probability decides.

``kinds`` holds one class for each kind of task, found by one table. It imports the losses, the metrics, evaluation and
plots; training, prediction, export and comparison ask a task and never its kind. Evaluation and plots import
``decisions`` and ``thresholds`` only, which stand before them in the order of imports. The configuration asks tasks for
the values that an epoch can be chosen by, so importing a task imports neither NumPy nor Keras.
"""
