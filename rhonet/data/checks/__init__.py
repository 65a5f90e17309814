"""Checks of a file, a folder and its labels before training.

search.py looks for density files, densities.py and labels.py for what is odd in them, duplicates included. Imports
core, formats and data. Start with summary.py (one density) and report.py (a whole folder).
"""
