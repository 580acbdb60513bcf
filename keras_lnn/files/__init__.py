"""Files that are whole or absent, YAML read within limits, tables, and which files this package has written.

Everything that writes goes through here. It imports nothing of this package but the errors.
"""
