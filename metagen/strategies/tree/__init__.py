"""Tree searches over steps, and over whole replies (`adaptive`), guided by a verifier that judges partial replies.

`node` is the tree as data, `shares` the arithmetic of how much each node gets, `search` the loop around both; `levels`
and `windows` are the algorithms, each a pure function from a tree to what is drawn next.
"""
