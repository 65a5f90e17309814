"""What people see of an evaluation: terminal tables, pages, CSV.

Imports the wings up to evaluation; computes no scores. Start with terminal.py and html_report.py.
"""
