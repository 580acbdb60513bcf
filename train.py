"""Trains a network: python train.py --model lnn --data phantom-breast. See --help.

The same as ``keras-lnn train``.
"""

import functools

from keras_lnn.cli import train
from keras_lnn.cli.parsing import run_main

main = functools.partial(train.main, program="train.py")

if __name__ == "__main__":
    run_main(main)
