"""What an event wishes for: objects, made of the event and the settings.

It does no I/O. It must not know records or the kernel: what only they can tell is a question.
"""
