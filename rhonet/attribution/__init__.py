"""Where in a crystal a prediction comes from: integrated gradients of an exported model.

Imports the wings up to serving. Start with integrated_gradients.py.
"""
