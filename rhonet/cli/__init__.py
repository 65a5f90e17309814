"""What the commands share: options, input files, output files, exit codes.

Imports core and formats; the commands are `rhonet/<verb>.py`. Start with command.py.
"""
