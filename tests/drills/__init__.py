"""Drills: minutes of faults, load and abuse, each a script that measures and says what it measured."""
