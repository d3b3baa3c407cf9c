"""One file for each command that joins several parts; `cli.py` imports the one that is called."""
