"""Checks of a file, a folder and its labels before training.

Imports core, formats and data. Start with summary.py (one density) and report.py (a whole folder).
"""
