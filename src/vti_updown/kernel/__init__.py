"""The kernel: what looks at it (`observe`, `lookup`), and what changes it (`apply`, `links`).

It must not know events, settings, records, or why a step is taken.
"""
