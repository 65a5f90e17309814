"""Reading bytes: compressed sources, lines of numbers, HDF5, netCDF, JSON, each bounded and with clear errors.

Imports core alone. The formats are built on it; start with source.py.
"""
