"""The ways into the tools of others: evaluation harnesses, traces, data sets, tests. Each needs its own extra alone."""
