"""vLLM in process: generating, scoring, and the engine that both share."""
