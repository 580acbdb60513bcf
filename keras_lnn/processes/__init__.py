"""Work in separate processes: one pool of workers with one display, processes that are limited and killed as a whole.

This package trains nothing; studies and searches give it the work to run. Of runs it knows only their histories, which
the display reads.
"""
