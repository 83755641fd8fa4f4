#!/usr/bin/env python3
"""Writes the tables of docs/settings.md from the table of settings in the hook's own code.

    settings_page.py            write the page
    settings_page.py --check    change nothing; exit status 1 where the page is not what would be written

The prose of the page is written by hand. Each table stands between two marks, which stay in the
page:

    <!-- settings: begin -->
    …
    <!-- settings: end -->

The script replaces what is between them. It needs nothing but Python's standard library.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/settings.md"
HOW_TO = "run: make settings"

if TYPE_CHECKING:
    from vti_updown.settings.table import Flag


def flags() -> "Sequence[Flag]":
    """The table of settings of this checkout, whatever else is installed."""
    sys.path.insert(0, str(ROOT / "src"))
    from vti_updown.settings.table import FLAGS

    return FLAGS


def settings_table(table: "Sequence[Flag]") -> str:
    """What has a key in the file, and so is a setting of a connection."""
    head = (
        "| in the file | on the updown line | what it says | default |\n| --- | --- | --- | --- |\n"
    )
    return head + "".join(map(setting_row, filter(is_setting, table)))


def setting_row(flag: "Flag") -> str:
    from vti_updown.settings import values

    in_file = f"`{flag.key} = {values.as_toml(flag.example)}`"
    return f"| {in_file} | {usage(flag)} | {says(flag)} | {flag.default} |\n"


def flags_table(table: "Sequence[Flag]") -> str:
    """What is a flag only."""
    rows = [flag for flag in table if not is_setting(flag)]
    head = "| on the updown line | what it says | default |\n| --- | --- | --- |\n"
    return head + "".join(f"| {usage(flag)} | {says(flag)} | {flag.default} |\n" for flag in rows)


def is_setting(flag: "Flag") -> bool:
    return flag.parse is not None


def usage(flag: "Flag") -> str:
    """The flag as it is written; a vertical bar would end the cell."""
    return "`" + flag.usage.replace("|", r"\|") + "`"


def says(flag: "Flag") -> str:
    return f"{flag.help} May be given several times." if flag.many else flag.help


def between_marks(page: str, name: str, table: str) -> str:
    """The page with `table` between the marks of this name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    if page.count(begin) != 1 or page.count(end) != 1:
        sys.exit(
            f"error: {PAGE.name} has not each of these lines once: {begin.strip()}, {end.strip()}"
        )
    before, _, rest = page.partition(begin)
    return before + begin + table + end + rest.partition(end)[2]


def made(page: str) -> str:
    """The page as it should be."""
    table = flags()
    page = between_marks(page, "settings", settings_table(table))
    return between_marks(page, "flags", flags_table(table))


def main(words: Sequence[str]) -> int:
    page = PAGE.read_text()
    wanted = made(page)
    if "--check" in words:
        if page != wanted:
            print(f"{PAGE.relative_to(ROOT)} is not what the table of settings says; {HOW_TO}")
        return int(page != wanted)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
