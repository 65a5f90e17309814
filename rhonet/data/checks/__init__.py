"""What is odd in a file, a folder or its labels, found before anybody trains on it.

Imports core, formats and data. Start with summary.py (one density) and report.py (a whole folder).
"""
