"""Commands for people and units: repair and flush, prepare and release, check-config.

The hook must not import any of it: click alone costs more than a whole event.
"""
