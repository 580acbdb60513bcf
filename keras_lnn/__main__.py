"""The commands without the console script: python -m keras_lnn COMMAND ..."""

import functools

from keras_lnn.cli import main as front_door
from keras_lnn.cli.parsing import run_main

main = functools.partial(front_door.main, program="python -m keras_lnn")

if __name__ == "__main__":
    run_main(main)
