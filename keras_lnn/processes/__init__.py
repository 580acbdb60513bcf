"""Work in separate processes: started by a helper, limited in time and memory, and killed with their children.

This package knows nothing of training; studies and searches give it the work to run.
"""
