"""Files that are complete or absent, YAML read within limits, tables, and a record of files already written.

All modules that write files use this package. It imports nothing else of keras_lnn except the errors.
"""
