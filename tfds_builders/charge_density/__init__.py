"""TFDS builder for a folder of density files with properties.csv."""
