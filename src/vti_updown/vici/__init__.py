"""Asking charon over its VICI socket: which charons there are, their SAs and connections.

It must not know tunnels, settings, records or the kernel, and the hook must never import it.
"""
