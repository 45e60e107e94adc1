"""`python -m metagen` is `metagen`."""

from metagen.cli import main

main()
