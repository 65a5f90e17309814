"""Networks: encoders of the cube, heads and losses, in Keras alone.

Imports core; `keras.layers` and `keras.ops` only, so that every network also runs on JAX. Start with network.py.
"""
