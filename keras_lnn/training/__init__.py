"""Training: the protocol, the loop, what it records after each epoch, the report, and a model measured again.

It imports everything below it; studies, searches and the commands import it.
"""
