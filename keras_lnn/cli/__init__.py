"""The commands of ``keras-lnn``: what each takes, checks and prints.

Commands parse options, call the other packages and print. Nothing imports this package but ``train.py`` and
``tuning/__main__.py``, which are two of its commands.
"""
