"""pip's own configuration, in uv's words.

People reach their mirrors and trust their proxies by pip's configuration (pip.conf, PIP_* variables). uv does not read
it, so it is asked of pip and translated.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """Where packages come from, as arguments and environment for uv."""

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def translate(listing: str) -> Settings:
    """Translate the text of ``pip config list``; a variable wins over the section install, that over global."""
    chosen: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        section, _dot, option = key.rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section)
        if not equals or rank is None or rank < chosen.get(option, (-1, ""))[0]:
            continue
        chosen[option] = (rank, str(ast.literal_eval(value)))
    values = {option: value.split() for option, (_rank, value) in chosen.items()}

    arguments = []
    for option, flag in (
        ("index-url", "--default-index"),
        ("extra-index-url", "--extra-index-url"),
        ("find-links", "--find-links"),
        ("trusted-host", "--allow-insecure-host"),
    ):
        for value in values.get(option, []):
            arguments += [flag, value]
    if values.get("no-index", ["false"])[0].lower() in ("1", "true", "yes", "on"):
        arguments.append("--no-index")

    # Without a certificate of its own pip trusts what the system trusts; so shall uv.
    environment = {"UV_SYSTEM_CERTS": "true", "UV_HTTP_TIMEOUT": "180"}
    if "cert" in values:
        environment = {"SSL_CERT_FILE": values["cert"][0], "UV_HTTP_TIMEOUT": "180"}
    if "proxy" in values:
        environment["ALL_PROXY"] = values["proxy"][0]
    return Settings(arguments, environment)
