"""What `vti-updown status` shows, and what it says of what is wrong."""


from .story import PLUTO_MARK, SITE, Story, child_sa, ike_sa


def test_x(story: Story) -> None:
    story.up(**SITE)
    story.up(**{**SITE, **PLUTO_MARK, "PEER_CLIENT": "10.9.0.0/16"})
    sas = [
        ike_sa("home", 1, "192.168.0.2", child_sa("gw", 1)),
        ike_sa(
            "pluto",
            2,
            "192.168.0.3",
            child_sa("pluto", 2, "10.9.0.0/16", mark_in=(3, 2), mark_out=(3, 2)),
            age=44,
        ),
    ]
    story.tells(*sas)
    t = [story.status(), story.status("gw"), story.status("--json"), story.status("--metrics")]
    story.lose_routes()
    t += [story.status()]
    story.lose_link("vti1")
    t += [story.status(), story.status("gw")]
    story.answers.clear()
    t += [story.status(), story.status("gw")]
    story.settings('[connection.gw]\nexpect="up"\n')
    story.restart_charon()
    t += [story.status(), story.status("gw"), story.status("gwx")]
    raise AssertionError("\n======\n".join(t))
