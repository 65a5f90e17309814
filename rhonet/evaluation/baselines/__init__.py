"""What a network must beat: forests on composition, boosting on density histograms, an autoencoder.

Imports core, data, views and evaluation. Start with on_records.py.
"""
