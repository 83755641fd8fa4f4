"""The environment of a real event, and of others like it."""

RECORDED = {
    # A real up-client of strongSwan 5.9.8's, without what the hook does not read.
    "PLUTO_VERB": "up-client",
    "PLUTO_CONNECTION": "gw",
    "PLUTO_UNIQUEID": "1",
    "PLUTO_REQID": "1",
    "PLUTO_INTERFACE": "eth0",
    "PLUTO_ME": "192.168.0.1",
    "PLUTO_PEER": "192.168.0.2",
    "PLUTO_MY_ID": "moon",
    "PLUTO_PEER_ID": "sun",
    "PLUTO_MY_CLIENT": "10.3.0.1/32",
    "PLUTO_MY_PORT": "0",
    "PLUTO_MY_PROTOCOL": "0",
    "PLUTO_PEER_CLIENT": "0.0.0.0/0",
    "PLUTO_PEER_PORT": "0",
    "PLUTO_PEER_PROTOCOL": "0",
    "PLUTO_MY_SOURCEIP": "10.3.0.1",
    "PLUTO_MY_SOURCEIP4_1": "10.3.0.1",
    "PLUTO_MY_SOURCEIP6_1": "fec3::1",
    "PLUTO_MARK_IN": "2/0xffffffff",
    "PLUTO_MARK_OUT": "2/0xffffffff",
}
IPV6 = {"PLUTO_VERB": "up-client-v6", "PLUTO_MY_CLIENT": "fec3::1/128", "PLUTO_PEER_CLIENT": "::/0"}


def environment(verb: str = "up-client", **changed: object) -> dict[str, str]:
    """The recorded environment with `verb`, and the selectors of its family.

    PLUTO_<name> is changed as `changed` says; None leaves it out.
    """
    found = {**RECORDED, **(IPV6 if verb.endswith("-v6") else {}), "PLUTO_VERB": verb}
    found |= {f"PLUTO_{name}": str(value) for name, value in changed.items()}
    for name, value in changed.items():
        if value is None:
            del found[f"PLUTO_{name}"]
    return found
