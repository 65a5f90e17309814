"""How far a prediction can be trusted: intervals, class probabilities, prediction sets, novelty.

Imports the wings up to views. Start with calibration.py.
"""
