"""Stories: events in, `ip` commands out. They need neither root nor a kernel with VTI: python -m
pytest tests/stories

Each is a test that reads from top to bottom: the settings, what charon or the administrator does,
and all that is printed. A command that is missing, and one too many, fails it.
"""
