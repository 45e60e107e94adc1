"""What samples and runs say: curves, intervals, comparisons, tables and plots."""
