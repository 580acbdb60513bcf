"""Runs every block of one page in order, in the working directory: ``python run_page.py PAGE``.

Studies and searches import this file again in the helper that forks their processes, so it imports nothing of its own.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2]), os.getcwd()]

# These choose a backend that only waits, so that nothing could be trained in their process after them.
_ON_THEIR_OWN = ("study", "tune")


def run_words(words: list[str]) -> None:
    """Runs one command in this process; programs of others are left out."""
    from doc_blocks import ROOT, find_command, load_script

    from keras_lnn.cli.main import main

    output = words[words.index(">") + 1] if ">" in words else None
    words = words[: words.index(">")] if output else words
    found = find_command(words)
    with contextlib.ExitStack() as stack:
        if output is not None:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(output, "w", encoding="utf-8"))))
        if found is not None and found[0] in _ON_THEIR_OWN:
            source = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
            command = [sys.executable, "-m", "keras_lnn", found[0], *found[1]]
            subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, check=True)
        elif found is not None:
            assert main([found[0], *found[1]]) == 0, words
        elif words[1].startswith("benchmarks/"):
            assert load_script(words[1]).main(words[2:]) == 0, words


def run_page(page: Path) -> None:
    """Runs the blocks of a page: files are written, commands are run, and Python shares its names."""
    from doc_blocks import read_blocks, read_commands, with_options

    names: dict[str, object] = {"__name__": "__main__"}
    for block in read_blocks(page):
        if block.file:
            Path(block.file).write_text(block.replaced, encoding="utf-8")
        if not block.is_run:
            continue
        if block.language == "bash":
            for words in read_commands(block.replaced):
                print("$", *words, flush=True)
                run_words(with_options(words, block.options))
        elif block.language == "python" and not block.file:
            exec(compile(block.replaced, str(page), "exec"), names)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
