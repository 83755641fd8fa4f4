"""The settings of a connection: their table, the file, and which sections of the file apply.

It must not know records, the kernel, what an event wishes for, the hook or the administrator.
"""
