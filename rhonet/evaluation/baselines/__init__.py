"""Baselines that a network must beat: forests on the composition, boosting on density histograms, an autoencoder.

May import core, data, models, views and evaluation. Start reading with on_records.py.
"""
