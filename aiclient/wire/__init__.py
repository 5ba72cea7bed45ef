"""Connections to one node: a stack per node, h11 (or httpcore's connections) over our own streams.

httpcore's shared pool is quadratic in connections and loses slots when calls are cancelled while
it is full; an exclusive HTTP/1.1 connection per call and a stack per node have neither problem.
Limits are kept above the stacks.
"""
