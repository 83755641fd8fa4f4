"""The difference between what is and what is wished, and what goes along."""

from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from vti_updown.objects.address import Address
from vti_updown.objects.link import Link
from vti_updown.objects.object import Applied
from vti_updown.objects.registry import Step, rank, read, write
from vti_updown.objects.route import Route
from vti_updown.objects.sysctl import Sysctl
from vti_updown.reconcile import difference as module

LINK = Link(
    "vti", ip_address("192.168.0.1"), ip_address("192.168.0.2"), "vti1", 2, 2, "vti-updown gw"
)
OTHER = LINK._replace(remote=ip_address("192.168.0.3"), name="vti2")
POLICY = Sysctl(LINK.key, "ipv4", "disable_policy", 1)


def difference(*args, **named):
    """The steps, without why they are there."""
    return [step._replace(why="") for step in module.difference(*args, **named)]


def address(text, link=LINK):
    return Address(link.key, ip_interface(text))


def route(net, link=LINK, source=None, metric=0):
    return Route(ip_network(net), 254, metric, link.key, source and ip_address(source))


ONE = address("10.3.0.1/32")
NET = route("10.2.0.0/16", source="10.3.0.1")

links = st.builds(
    Link,
    kind=st.just("vti"),
    local=st.just(ip_address("192.168.0.1")),
    remote=st.sampled_from([ip_address(f"192.168.0.{n}") for n in (2, 3)]),
    name=st.sampled_from(["vti1", "vti2", "gw"]),
    okey=st.integers(0, 3),
    ikey=st.integers(0, 3),
    alias=st.sampled_from(["vti-updown a", "vti-updown ü"]),
)
keys = links.map(lambda link: link.key)
ips = st.sampled_from(
    [
        ip_interface(text)
        for text in ("10.3.0.1/32", "10.3.0.2/32", "10.3.0.1/24", "10.3.0.7/24", "fd00:3::1/128")
    ]
)
nouns = st.one_of(
    links,
    st.builds(
        Sysctl,
        keys,
        st.sampled_from(["ipv4", "ipv6"]),
        st.just("disable_policy"),
        st.integers(0, 1),
    ),
    st.builds(Address, keys, ips),
    st.builds(
        Route,
        st.sampled_from(
            [ip_network(text) for text in ("10.2.0.0/16", "10.9.0.0/16", "fd00:2::/32")]
        ),
        st.sampled_from([254, 500]),
        st.sampled_from([0, 5]),
        keys,
        st.none() | ips.map(lambda one: one.ip),
    ),
)


def consistent(found):
    """By key, without what has no link to stand on: a reference that wishes for it wishes for the
    link, too.
    """
    there = {noun.key for noun in found if isinstance(noun, Link)}
    return {noun.key: noun for noun in found if noun.link_key in there}


states = st.tuples(st.lists(links, max_size=2), st.lists(nouns, max_size=8)).map(
    lambda pair: consistent([*pair[0], *pair[1]])
)


@given(nouns)
def test_an_object_is_read_as_it_was_written(noun):
    """The records give back what was put into them."""
    assert read(write(noun)) == noun


def after(applied, steps):
    """A kernel, as simple as it can be, after the steps: what was deleted with a link is gone with
    it.
    """
    now = {key: was.object for key, was in applied.items()}
    for step in steps:
        if step.new is None:
            now.pop(step.object.key, None)
            if isinstance(step.object, Link):
                now = {key: noun for key, noun in now.items() if noun.link_key != step.object.key}
            if isinstance(step.object, Address):
                standing = [noun for noun in now.values() if noun != step.object]
                now = {
                    key: noun
                    for key, noun in now.items()
                    if not noun.goes_along(step.object, standing)
                }
        else:
            now[step.object.key] = step.new
    return now


@given(states, states)
def test_the_steps_lead_from_what_is_to_what_is_wished(before, wished):
    """Played on a simple kernel they end at the wishes."""
    applied = {key: Applied(noun) for key, noun in before.items()}
    assert after(applied, difference(applied, wished)) == wished


@given(states, states)
def test_additions_come_before_removals_and_links_first_and_last(before, wished):
    """Nothing is away for longer than it must be."""
    steps = difference({key: Applied(noun) for key, noun in before.items()}, wished)
    removals = [step.new is None for step in steps if step.old != step.new]
    assert removals == sorted(removals)
    put = [rank(step.object) for step in steps if step.new is not None and step.old != step.new]
    taken = [rank(step.object) for step in steps if step.new is None]
    assert put == sorted(put) and taken == sorted(taken, reverse=True)


@given(states)
def test_nothing_is_done_where_all_is_as_wished(wished):
    """An event that changes nothing touches nothing."""
    assert difference({key: Applied(noun) for key, noun in wished.items()}, wished) == []


@given(states)
def test_what_is_not_sure_is_done_again(wished):
    """After a death the kernel may hold anything."""
    steps = difference({key: Applied(noun, sure=False) for key, noun in wished.items()}, wished)
    assert {step.new for step in steps} == set(wished.values())
    assert all(step.old is None for step in steps)


def test_a_link_that_goes_takes_its_own_along_in_one_step():
    """One request deletes all that is on it."""
    applied = {noun.key: Applied(noun) for noun in (LINK, POLICY, ONE, NET)}
    assert difference(applied, {}) == [Step(LINK, None)]


def test_a_borrowed_link_is_cleared_and_left():
    """Each object on it has a step of its own."""
    applied = {noun.key: Applied(noun) for noun in (ONE, NET)} | {
        LINK.key: Applied(LINK, borrowed=True)
    }
    assert difference(applied, {}, borrowed={LINK.key}) == [
        Step(NET, None),
        Step(ONE, None),
        Step(LINK, None),
    ]


def test_what_is_not_sure_does_not_go_with_its_link():
    """It may stand on another link, so it has a step of its own."""
    applied = {LINK.key: Applied(LINK), ONE.key: Applied(ONE), NET.key: Applied(NET, sure=False)}
    assert difference(applied, {}) == [Step(NET, None), Step(LINK, None)]


def test_a_borrowed_link_is_never_changed():
    """Whatever is wished for: it is somebody else's."""
    wish = LINK._replace(mtu=1400, name="other")
    applied = {LINK.key: Applied(LINK, borrowed=True)}
    assert difference(applied, {wish.key: wish}, borrowed={LINK.key}) == []
    assert difference({LINK.key: Applied(LINK)}, {wish.key: wish}) == [Step(LINK, wish)]


def test_what_is_on_a_link_that_goes_to_another_vrf_is_put_back():
    """All of it is lost by the move, and the link stays."""
    moved = LINK._replace(master="blue")
    steps = difference(
        {LINK.key: Applied(LINK)}, {moved.key: moved}, [ONE, NET, address("10.9.0.1/32", OTHER)]
    )
    assert steps == [Step(LINK, moved), Step(ONE, ONE), Step(NET, NET)]


def test_a_route_that_another_link_takes_over_moves_in_one_step():
    """No packet finds it missing."""
    moved = NET._replace(link_key=OTHER.key)
    applied = {noun.key: Applied(noun) for noun in (LINK, NET)}
    assert difference(applied, {OTHER.key: OTHER, moved.key: moved}) == [
        Step(None, OTHER),
        Step(NET, moved),
        Step(LINK, None),
    ]


def test_routes_lost_with_the_last_ipv4_address_are_put_back():
    """The kernel takes all IPv4 routes of the link along."""
    beside = [
        route("10.9.0.0/16"),
        route("10.8.0.0/16", metric=7),
        route("fd00:2::/32"),
        address("fd00:3::1/128"),
    ]
    steps = difference({ONE.key: Applied(ONE)}, {}, beside)
    assert steps == [Step(ONE, None), Step(beside[0], beside[0]), Step(beside[1], beside[1])]


def test_another_address_takes_only_routes_that_prefer_it():
    """As long as one address is left, other routes stay."""
    other = address("10.3.0.2/32")
    beside = [other, route("10.9.0.0/16"), route("10.8.0.0/16", OTHER, source="10.3.0.1")]
    steps = difference({ONE.key: Applied(ONE)}, {}, beside)
    assert steps == [Step(ONE, None), Step(beside[2], beside[2])]


def test_a_primary_address_takes_its_secondaries_along():
    """They are put back in the same event."""
    primary, secondary, stranger = (
        address("10.3.0.1/24"),
        address("10.3.0.7/24"),
        address("10.4.0.1/24"),
    )
    steps = difference({primary.key: Applied(primary)}, {}, [secondary, stranger])
    assert steps == [Step(primary, None), Step(secondary, secondary)]


def test_an_ipv6_address_spoils_only_routes_that_prefer_it():
    """An IPv6 route stays, without its source."""
    six = address("fd00:3::1/128")
    beside = [route("fd00:2::/32", source="fd00:3::1"), route("fd00:9::/32"), route("10.2.0.0/16")]
    assert difference({six.key: Applied(six)}, {}, beside) == [
        Step(six, None),
        Step(beside[0], beside[0]),
    ]


def test_each_step_says_why_the_kernel_must_change():
    """What comes, changes, goes, is in doubt, or goes along with an address or by a VRF."""
    changed = NET._replace(source=None)
    steps = module.difference(
        {LINK.key: Applied(LINK), POLICY.key: Applied(POLICY, sure=False)}
        | {each.key: Applied(each) for each in (NET, ONE)},
        {LINK.key: LINK, POLICY.key: POLICY, changed.key: changed, OTHER.key: OTHER},
        [route("10.9.0.0/16")],
    )
    assert [(step.object, step.why) for step in steps] == [
        (OTHER, module.NOT_THERE),
        (POLICY, module.IN_DOUBT),
        (changed, module.OTHERWISE),
        (ONE, module.NOT_WISHED),
        (route("10.9.0.0/16"), module.GOES_WITH_ADDRESS),
        (changed, module.GOES_WITH_ADDRESS),
    ]
    moved = LINK._replace(master="blue")
    _, put_back = module.difference({LINK.key: Applied(LINK)}, {moved.key: moved}, [ONE])
    assert put_back.why == module.GOES_WITH_VRF
