"""Runs to look at: one self-contained page, and one problem on the terminal. Only the written rows are read."""
