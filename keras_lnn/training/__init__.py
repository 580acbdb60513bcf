"""Training: the loop, what it records after each epoch, and the report that a run leaves.

It imports everything below it; studies, searches and the commands import it.
"""
