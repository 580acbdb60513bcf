"""The start of a process: how Keras is imported, and where compiled programs are kept."""
