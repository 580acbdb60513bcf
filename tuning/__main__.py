"""Hyperparameter search: python -m tuning --model lnn --data phantom-breast. See --help.

The same as ``keras-lnn tune``.
"""

import functools

from keras_lnn.cli import tune
from keras_lnn.cli.parsing import run_main

main = functools.partial(tune.main, program="python -m tuning")

if __name__ == "__main__":
    run_main(main)
