"""Evaluation of predictions: scores with bootstrap intervals, and the baselines that networks are compared with.

May import the wings up to uncertainty. Start reading with metrics.py (a whole evaluation), then scores.py (one
property).
"""
