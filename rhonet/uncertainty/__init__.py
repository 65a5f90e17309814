"""Uncertainty of predictions: prediction intervals, calibrated class probabilities, prediction sets and novelty.

May import the wings up to views. Start reading with calibration.py.
"""
