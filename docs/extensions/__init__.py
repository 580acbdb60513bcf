"""What the documentation generates from the code and from the tables of results."""
