"""Neural networks: encoders that turn a cube into features, heads and the loss.

May import core. Uses `keras.layers` and `keras.ops` only, so that every network also runs on JAX. Start reading with
network.py.
"""
