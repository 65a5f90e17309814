"""Integrated gradients of an exported model: which places in a crystal a prediction comes from.

Imports the wings up to serving. Start with integrated_gradients.py.
"""
