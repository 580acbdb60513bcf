"""One run on several hosts: the place of each, the connection between them, and what they do together."""
