"""Baselines that a network must beat: forests on the composition, boosting on density histograms, an autoencoder.

trees.py fits them, composition.py and autoencoder.py make features, on_records.py predicts for a built data set. May
import core, data, models, views and evaluation. Start reading with on_records.py.
"""
