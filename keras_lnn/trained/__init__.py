"""A trained model at work: measured again, on groups, spoilt images or fewer frames, explained, and its features.

It imports training, whose runs it opens; ensembles, studies and the commands import it.
"""
