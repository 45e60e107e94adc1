"""Running code that nobody has read: the sandbox, its processes, programs and proofs."""
