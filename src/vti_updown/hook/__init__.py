"""One event: what it changes in the references, how the kernel follows, and what is said of it.

It must not know the commands for people, or click.
"""
