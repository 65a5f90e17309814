"""Whole workflows: train, calibrate, export and score one model; compare many of them.

Imports every wing but cli. Start with experiment.py (one model) and trials.py (many).
"""
