"""Whole workflows: train, calibrate, export and score one model, or compare many models.

Imports every wing but cli. Start with train_model.py (one model) and trials.py (many models).
"""
