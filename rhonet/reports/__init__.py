"""Reports of an evaluation: tables for the terminal, an HTML page, a CSV file, figures.

Imports the wings up to evaluation; computes no scores. Start with terminal.py and html_report.py.
"""
