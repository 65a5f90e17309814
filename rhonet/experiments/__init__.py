"""Whole workflows: train, calibrate, export and score one model, or compare many models.

A study (studies.py) compares variants; each of its trainings is a trial (trials.py); comparison.py is the table.
leaks.py finds near-duplicates across splits. Imports every wing but cli. Start with train_model.py (one model) and
trials.py (many models).
"""
