"""Uncertainty of predictions: prediction intervals, calibrated class probabilities, prediction sets and novelty.

Novelty compares the peaks of a density (density_peaks.py) with those of the training crystals (training_peaks.py). May
import the wings up to views. Start reading with calibration.py.
"""
