"""Route-based tunnels for strongSwan: the updown hook that builds and removes the VTI of a
CHILD_SA.
"""

__version__ = "0.1.0"
