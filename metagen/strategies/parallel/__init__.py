"""Parallel sampling: draw m candidates and choose one."""
