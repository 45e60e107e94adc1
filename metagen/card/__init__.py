"""What a model costs, from its `config.json`: parameters, FLOPs, bytes."""
