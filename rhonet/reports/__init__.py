"""Reports of an evaluation: tables for the terminal, an HTML page, a CSV file, figures.

terminal.py formats the tables of the terminal, tables.py those of html_report.py. Imports the wings up to evaluation;
computes no scores. Start with terminal.py and html_report.py.
"""
