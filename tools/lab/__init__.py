"""The lab runs a command as root on a kernel that has VTI: this machine's, or a virtual machine's.

It uses the standard library only, since it runs before anything is installed. `make install` does
not need it.
"""
