"""The one idea: the steps are the difference between what was applied and what is wished for.

It must not know events, settings, or why a reference came or went.
"""
