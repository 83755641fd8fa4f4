"""The records of one network namespace: references, their wishes, and what was applied.

It must not know netlink, settings, or how a step is taken.
"""
