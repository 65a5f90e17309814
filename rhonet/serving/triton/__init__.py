"""A model in Triton Inference Server: its repository, its server, its client.

Imports serving; backend.py runs inside the server and imports nothing of rhonet. Start with repository.py.
"""
