"""What the command line does: a job over a problem file, and plans of several runs."""
