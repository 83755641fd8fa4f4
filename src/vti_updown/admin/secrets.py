"""Takes out of a text what nobody else may see: keys, passwords and other secrets. Pure.

It is for configuration and for what programs print, before somebody sends it to somebody else. In
doubt it takes out too much.
"""

import re

from ..named_tuple import NamedTuple

LEFT_OUT = "(left out)"
WORDS = "secret|password|passwd|passphrase|psk|pin|token|credential|api_?key|private_?key|key"
"""A key of these names has a secret, also with more in front or behind: `eap-secret`, `secret1`."""
QUOTED = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'"
VALUE = re.compile(
    rf"""
    (?P<before>
        (?: ^ | [\s{{;,&?"'] | [\w.]+[-_.] | -- )
        (?: {WORDS} ) s? \d* (?: [-_.][\w.-]* )?
        [ \t]* (?: = | :(?!:) ) [ \t]*
    )
    (?P<value> {QUOTED} | [^\s"'#}}][^\n#}}]* )
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
BEARER = re.compile(
    r"(?P<before>\b(?:bearer|basic)[ \t]+)(?P<value>[\w.~+/=-]{6,})",
    re.IGNORECASE,
)
USER = re.compile(r"(?P<before>(?:^|\s)(?:-u|--user|-p|--password)[ \t=]+)(?P<value>[^\s]+)")
USERINFO = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]*://)(?P<value>[^\s/@\"']+)(?=@)", re.IGNORECASE
)
OF_IPSEC_SECRETS = re.compile(
    r"(?P<before>:[ \t]*(?:PSK|RSA|ECDSA|BLISS|PKCS8|P12|EAP|NTLM|XAUTH|PIN)\b[ \t]*)"
    r"(?P<value>[^\n]+)"
)
"""What stands behind the selectors in ipsec.secrets(5)."""
PEM = re.compile(
    r"(?P<before>-----BEGIN [A-Z ]*PRIVATE KEY-----)(?P<value>.*?)(?=-----END|\Z)",
    re.DOTALL,
)
HEXADECIMAL = re.compile(r"(?P<before>\b0x)(?P<value>[0-9a-f]{17,})", re.IGNORECASE)
"""The keys that `ip xfrm state` prints. A mark, a mask or an SPI is shorter."""
BASE64 = re.compile(r"(?P<before>\b0s)(?P<value>[A-Za-z0-9+/]{16,}={0,2})")
SECRETS = (PEM, OF_IPSEC_SECRETS, VALUE, BEARER, USER, USERINFO, HEXADECIMAL, BASE64)
SECTION = re.compile(r"(?P<before>(?:^|[\s};])(?:secrets)\b[^={}\n]*\{)", re.MULTILINE)
"""The beginning of swanctl.conf's section of secrets."""
INSIDE = re.compile(rf"(?P<quoted>{QUOTED})|(?P<comment>\#[^\n]*)|(?P<bracket>[{{}}])", re.DOTALL)


class Cleaned(NamedTuple):
    text: str
    left_out: int
    """How much was taken out."""


def cleaned(text: str) -> Cleaned:
    """The text without secrets, and how many places had one."""
    without, left_out = _without_sections(text)
    for pattern in SECRETS:
        without, found = pattern.subn(_replaced, without)
        left_out += found
    return Cleaned(without, left_out)


def _replaced(found: "re.Match[str]") -> str:
    return f"{found['before']}{LEFT_OUT}"


def _without_sections(text: str) -> tuple[str, int]:
    """The text with nothing in its sections of secrets."""
    parts: list[str] = []
    place = 0
    count = 0
    while True:
        section = SECTION.search(text, place)
        if section is None:
            return "".join([*parts, text[place:]]), count
        parts += [text[place : section.end()], f" {LEFT_OUT} "]
        place = _end_of_section(text, section.end())
        count += 1


def _end_of_section(text: str, place: int) -> int:
    """Where the bracket is that ends it; the end of the text if there is none."""
    depth = 1
    for token in INSIDE.finditer(text, place):
        if token["bracket"] == "{":
            depth += 1
        elif token["bracket"] == "}":
            depth -= 1
        if not depth:
            return token.start()
    return len(text)
