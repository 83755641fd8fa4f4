"""What a tunnel is made of: a file for each kind of object, and `registry`, which lists them.

It must not know events, settings, records, or how a step is decided on.
"""
