"""Training: the protocol, the loop, what it records after each epoch, and the report.

It imports everything below it; studies, searches and the commands import it.
"""
