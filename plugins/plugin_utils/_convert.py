# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""From what YAML, Jinja and ``-e`` give to typed values, or to words that say what was expected.

An inventory's number may come as text (``-e serve_port=9000``) and a list as text with commas; everything else that is not what
it should be is refused and never guessed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from ._spec import MOST_DEVICES, Mount, RailChoice

# FlagScale writes these values unquoted into a shell command inside a shell command, sshd and Docker read them line by line:
# only characters that mean nothing to any of them pass.
SAFE_VALUE = re.compile(r"[A-Za-z0-9_./:,=+@%-]*\Z")
SAFE_VALUE_WORDS = "letters, digits and _ . / : , = + @ % - only, because FlagScale puts it unquoted into two nested shells"

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2})+\Z", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PATH = re.compile(r"/[A-Za-z0-9_./@%+-]*\Z")
_SIZE = re.compile(r"[1-9][0-9]*[kmgt]?\Z", re.IGNORECASE)
_ARGUMENT = re.compile(r"[a-z][a-z0-9_]*\Z")
_COMMAND = re.compile(r"[A-Za-z0-9_./:,=+@%& -]*\Z")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class UnfitError(ValueError):
    """A value that is not what it should be.

    :ivar expected: what it should be.
    :ivar observed: the part that does not fit, when it is not the whole value.
    """

    def __init__(self, expected: str, observed: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.observed = observed


def plain(value: Any) -> Any:
    """The value in Python's own types: Ansible tags its text, numbers and containers with origins."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)  # a vault's text, for one


def show(value: object) -> str:
    """A value as it goes into a line for people: short, with its type visible."""
    if value is None:
        return "nothing (null)"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def whole(minimum: int, maximum: int) -> Callable[[Any], int]:
    """A whole number in a range, also as text."""
    expected = f"a whole number from {minimum} to {maximum}"

    def convert(value: Any) -> int:
        if isinstance(value, str) and _WHOLE.match(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise UnfitError(expected)
        return value

    return convert


def switch(value: Any) -> bool:
    """True or false, also as the words that Ansible knows."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise UnfitError("true or false")


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise UnfitError(expected)
        return value

    return convert


name = _matching(_NAME, "a name of letters, digits and . _ - that begins and ends with a letter or digit")
interface = _matching(_INTERFACE, "the name of one network interface, such as eth0")
size = _matching(_SIZE, "a size such as 64g")
command = _matching(_COMMAND, "a command line without quotes, newlines, $ or backslash, because FlagScale puts it into quotes of its own")


def path(value: Any) -> str:
    """An absolute path that no shell and no Docker option can misread; a closing slash is dropped."""
    if not isinstance(value, str) or not _PATH.match(value) or value.strip("/") == "" or ".." in value.split("/"):
        raise UnfitError("an absolute path of letters, digits and _ . / @ % + - without ..")
    return "/" + "/".join(part for part in value.split("/") if part)


def file_name(value: Any) -> str:
    """Any path on the controller, of a file or a folder."""
    if not isinstance(value, str) or not value or "\n" in value or "\0" in value:
        raise UnfitError("a path on the controller")
    return value


def address(value: Any) -> str:
    """An IPv4 address that other hosts can reach. FlagScale writes HOST:PORT, which an IPv6 address breaks."""
    try:
        found = ipaddress.IPv4Address(value if isinstance(value, str) else "")
    except ipaddress.AddressValueError:
        raise UnfitError("an IPv4 address; FlagScale takes no names and no IPv6 here") from None
    if found.is_loopback or found.is_unspecified or found.is_multicast or found == ipaddress.IPv4Address("255.255.255.255"):
        raise UnfitError("an IPv4 address on which the other hosts reach this one")
    return str(found)


def _items(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    if isinstance(value, list):
        return value
    raise UnfitError("a list")


def interfaces(value: Any) -> tuple[str, ...]:
    """A list of interface names, also as text with commas, which is how the model card writes it."""
    expected = "a list of network interfaces, such as [eth1, eth1, eth2, eth2]"
    try:
        return tuple(interface(item) for item in _items(value))
    except UnfitError as error:
        raise UnfitError(expected, error.observed) from None


def devices(value: Any) -> tuple[int, ...]:
    """A list of numbers of devices, also as text with commas, which is how CUDA_VISIBLE_DEVICES is written."""
    expected = f"a list of numbers of devices, each from 0 to {MOST_DEVICES - 1}, such as [2, 3, 0, 1]"
    number = whole(0, MOST_DEVICES - 1)
    found = []
    for item in [value] if isinstance(value, int) else _items(value):
        try:
            found.append(number(item))
        except UnfitError:
            raise UnfitError(expected, show(item)) from None
    if not found:
        raise UnfitError(expected)
    return tuple(found)


def rails(value: Any) -> tuple[RailChoice, ...]:
    """A host's rails: names or hardware addresses of interfaces, each alone or with the id of its rail."""
    expected = "a list of interfaces, each by name or MAC address, or as {interface: eth1, rail: 1}"
    if not isinstance(value, list):
        raise UnfitError(expected)
    return tuple(_rail(item, expected) for item in value)


def _rail(item: Any, expected: str) -> RailChoice:
    entry = item if isinstance(item, dict) else {"interface": item}
    chosen, rail = entry.get("interface"), entry.get("rail")
    if not isinstance(chosen, str) or not (_INTERFACE.match(chosen) or _MAC.match(chosen)):
        raise UnfitError(expected, show(item))
    if set(entry) - {"interface", "rail"} or isinstance(rail, bool) or not isinstance(rail, str | int | None):
        raise UnfitError(expected, show(item))
    return RailChoice(chosen, None if rail is None else str(rail))


def additions(value: Any) -> bool | frozenset[str]:
    """All, none, or the names of some."""
    try:
        return switch(value)
    except UnfitError:
        pass
    try:
        chosen = _items(value)
    except UnfitError:
        chosen = [None]
    if not all(isinstance(item, str) and _VARIABLE.match(item) for item in chosen):
        raise UnfitError("true, false, or a list of the additions' names")
    return frozenset(chosen)


def environment(value: Any) -> dict[str, str | None]:
    """Variables by name: text or a whole number sets one, null removes it."""
    if not isinstance(value, dict):
        raise UnfitError("a dictionary of environment variables")
    return {_variable_name(key): _variable_value(key, item) for key, item in value.items()}


def _variable_name(key: Any) -> str:
    if not isinstance(key, str) or not _VARIABLE.match(key):
        raise UnfitError("names of letters, digits and _ that do not begin with a digit", show(key))
    return key


def _variable_value(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        raise UnfitError("text in quotes, because true and false are written differently by every program", f"{key}={value}")
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise UnfitError("text, a whole number, or null to remove the variable", f"{key}={show(value)}")
    if not SAFE_VALUE.match(value):
        raise UnfitError(SAFE_VALUE_WORDS, f"{key}={show(value)}")
    return value


def engine_arguments(value: Any) -> dict[str, Any]:
    """Arguments of ``vllm serve`` by name, with dashes or underscores; null removes one."""
    if not isinstance(value, dict):
        raise UnfitError("a dictionary of the engine's arguments")
    found: dict[str, Any] = {}
    for key, item in value.items():
        argument = key.replace("-", "_").lstrip("_") if isinstance(key, str) else ""
        if not _ARGUMENT.match(argument) or argument in found:
            raise UnfitError("each argument once, such as max_model_len", show(key))
        _check_argument(argument, item)
        found[argument] = item
    return found


def _check_argument(argument: str, value: Any) -> None:
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise UnfitError("a finite number", f"{argument}={value}")
    if isinstance(value, dict):
        _check_json(argument, value)
    elif isinstance(value, list):
        if any(item is None or isinstance(item, bool | dict | list) for item in value):
            raise UnfitError("a list of text and numbers", f"{argument}={show(value)}")
        for item in value:
            _check_argument(argument, item)
    elif isinstance(value, str):
        if not value or not SAFE_VALUE.match(value):
            raise UnfitError(SAFE_VALUE_WORDS, f"{argument}={show(value)}")
    elif value is not None and not isinstance(value, bool | int | float):
        raise UnfitError("text, a number, true, false, a list, a dictionary or null", f"{argument}={show(value)}")


def _check_json(argument: str, value: Any) -> None:
    """A dictionary becomes one JSON text: quotes are safe in it, ``$`` is not, because OmegaConf resolves ``${...}``."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UnfitError("text for keys", f"{argument}: {show(key)}")
            _check_json(argument, key)
            _check_json(argument, item)
    elif isinstance(value, list):
        for item in value:
            _check_json(argument, item)
    elif isinstance(value, str):
        if "$" in value or not value.isprintable():
            raise UnfitError("text without $ and control characters", f"{argument}: {show(value)}")
    elif isinstance(value, float):
        _check_argument(argument, value)
    elif value is not None and not isinstance(value, bool | int):
        raise UnfitError("what JSON can say", f"{argument}: {show(value)}")


def mounts(value: Any) -> tuple[Mount, ...]:
    """Folders of the host: ``/data``, ``/data:/inside`` or ``/data:/inside:ro``."""
    expected = "a list of folders, each /source, /source:/target or /source:/target:ro"
    if not isinstance(value, list):
        raise UnfitError(expected)
    found = []
    for item in value:
        parts = item.split(":") if isinstance(item, str) else []
        mode = parts.pop() if len(parts) == 3 else "rw"
        try:
            source, target = path(parts[0]), path(parts[-1])
        except (UnfitError, IndexError):
            raise UnfitError(expected, show(item)) from None
        if mode not in ("ro", "rw") or len(parts) > 2:
            raise UnfitError(expected, show(item))
        found.append(Mount(source, target, mode == "ro"))
    return tuple(found)
