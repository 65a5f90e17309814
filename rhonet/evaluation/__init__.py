"""How good predictions are: scores, and their intervals by resampling groups.

Imports the wings up to uncertainty. Start with metrics.py (a whole evaluation) and scores.py (one property).
"""
