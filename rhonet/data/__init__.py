"""From a user's folder of density files to a built data set and its splits.

Imports core and formats, and TensorFlow only when a data set is opened. Start with folder.py (the user's folder) and
builds.py (the TFDS data set that is built from it).
"""
