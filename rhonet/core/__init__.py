"""Densities, properties, predictions, settings and errors: the nouns that all other wings use.

Imports nothing else of rhonet, and neither TensorFlow nor Keras. Start with density.py (ChargeDensity) and
config.py (every setting and its default).
"""
