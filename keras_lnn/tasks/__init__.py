"""The kinds of task: what a network's outputs mean, how it is trained and measured, and what a probability decides.

It imports the losses and ``custom_metrics``; training, evaluation, export, prediction and comparison ask it.
"""
