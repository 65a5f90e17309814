"""From a user's folder of density files to a built data set and its splits.

Imports core and formats; no TensorFlow until a data set is opened. Start with folder.py (what a user hands over) and
builds.py (what TFDS makes of it).
"""
