"""The commands of ``keras-lnn``: their options, checks and output.

Commands parse options, call the other packages and print. Only ``train.py`` and ``tuning/__main__.py``, which are two
of the commands, import this package.
"""
