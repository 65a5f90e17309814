"""Reading bytes: packed files, lines of numbers, HDF5, netCDF, JSON, each within bounds and with clear errors.

Imports only core. The readers of the formats are built on it; start with source.py.
"""
