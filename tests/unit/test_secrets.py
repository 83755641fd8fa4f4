"""What a report leaves out. No form of a secret may stay, and what is none should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vti_updown.admin.secrets import cleaned

HIDDEN = "S3cr3tW0rd"
FORMS = {
    "swanctl.conf": "secrets {\n  ike-1 {\n    id = moon\n    secret = HIDDEN\n  }\n}\n",
    "in quotes": 'secrets {\n ike { secret = "HIDDEN" }\n}\n',
    "brackets in quotes": 'secrets {\n ike { secret = "}}HIDDEN" }\n}\n',
    "brackets in a comment": "secrets {\n # }}\n ike { secret = HIDDEN }\n}\n",
    "a key of another name in secrets": "secrets { eap { x = HIDDEN } }",
    "a section that refers to another": "secrets : base {\n ike { x = HIDDEN }\n}\n",
    "an included part": "ike-2 {\n  secret = HIDDEN\n}\n",
    "no spaces": "secret=HIDDEN",
    "a value of two lines": 'secret = "one\nHIDDEN"',
    "a value with spaces": "secret = one HIDDEN two",
    "numbered": "secret1 = HIDDEN",
    "with a suffix": "secret-old = HIDDEN",
    "of RADIUS": "plugins {\n  eap-radius {\n    secret = HIDDEN\n  }\n}\n",
    "a password": "password = HIDDEN",
    "of a certificate": "passphrase: HIDDEN",
    "a PIN": "pin = HIDDEN",
    "not closed": "secrets {\n ike { x = HIDDEN",
    "ipsec.secrets": ": PSK HIDDEN",
    "ipsec.secrets with IDs": 'moon sun : PSK "HIDDEN"',
    "ipsec.secrets, EAP": 'carol : EAP "HIDDEN"',
    "ipsec.secrets, a key": ": RSA key.pem HIDDEN",
    "a URI": "database = mysql://user:HIDDEN@localhost/db",
    "a URI with a token": "https://HIDDEN@example.org/",
    "a header": "up = \"curl -H 'Authorization: Bearer HIDDEN0000' https://example.org\"",
    "an option": "curl -u user:HIDDEN https://example.org",
    "a long option": "tool --password HIDDEN",
    "an option with =": "tool --token=HIDDEN",
    "in a query": "curl 'https://example.org/?token=HIDDEN&x=1'",
    "a variable": "API_KEY=HIDDEN tool",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nHIDDEN\n-----END RSA PRIVATE KEY-----",
    "a private key that is cut": "-----BEGIN PRIVATE KEY-----\nHIDDEN\n",
}
KEPT = (
    "leftauth=psk",
    "authby=secret",
    "auth = pubkey",
    "keyexchange=ikev2",
    "updown = /usr/local/sbin/vti-updown --route 10.2.0.0/16",
    "pubkeys = moon.pem",
    "certs = moonCert.pem",
    "mark 0x2a/0xffffffff",
    "spi 0xc2531db7(3260224951)",
    "10: from all fwmark 0x2a lookup 220",
    "inet6 fd00::1/64 scope global",
    "12: vti1@NONE: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1406",
)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_left_out(form: str) -> None:
    """Whatever the form in which it is written."""
    without = cleaned(form.replace("HIDDEN", HIDDEN))
    assert HIDDEN not in without.text
    assert without.left_out


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert cleaned(text).text == text


def test_the_keys_of_the_kernel_are_left_out() -> None:
    """`ip xfrm state` prints them."""
    key = "0x" + "0123456789abcdef" * 2
    text = f"src 192.0.2.1 dst 203.0.113.7\n\taead rfc4106(gcm(aes)) {key} 128\n"
    assert cleaned(text).text == text.replace(key, "0x(left out)")


def test_what_comes_behind_the_secrets_stays() -> None:
    text = 'connections { a { } }\nsecrets { ike { secret = "}" } }\npools { p { } }\n'
    assert cleaned(text).text == "connections { a { } }\nsecrets { (left out) }\npools { p { } }\n"


@given(st.lists(st.sampled_from([*FORMS.values(), *KEPT]), max_size=6))
def test_secrets_among_others(forms: list[str]) -> None:
    """What stands around it changes nothing."""
    text = "\n".join(forms).replace("HIDDEN", HIDDEN)
    assert HIDDEN not in cleaned(text).text


@given(st.text(alphabet="secrets{}=:\"'#\n ab", max_size=60))
def test_any_text_can_be_cleaned(text: str) -> None:
    """Nothing raises, and what is clean stays so."""
    once = cleaned(text).text
    assert cleaned(once).text.count("(left out)") >= once.count("(left out)")
