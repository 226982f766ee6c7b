"""Types exactly as the specs declare them.

Ansible's own validation accepts "a,b" as a list, "no" as a boolean, "5" as a number, and empty values; a container
would then fail on them.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .problems import Finding, did_you_mean, shown

Show = Callable[[Any], str]


def is_int(value: Any) -> bool:
    """Return whether this is a whole number (Python counts True as one)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_float(value: Any) -> bool:
    """Return whether this is a finite number."""
    return is_int(value) or (isinstance(value, float) and math.isfinite(value))


# Type in the spec: test, description, how to write it.
TYPES: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "str": (lambda value: isinstance(value, str), "a string", "put it in quotes"),
    "path": (lambda value: isinstance(value, str), "a path", "write the path as a string"),
    "bool": (lambda value: isinstance(value, bool), "true or false", "write true or false, without quotes"),
    "int": (is_int, "a whole number", "write a whole number, without quotes and unit"),
    "float": (is_float, "a number", "write a number, without quotes and unit"),
    "list": (lambda value: isinstance(value, list), "a list", 'write a list: one "- item" per line, or [a, b]'),
    "dict": (lambda value: isinstance(value, Mapping), "a mapping", 'write "key: value" lines below it, or {}'),
    "raw": (lambda value: True, "anything", ""),
}


def kind(value: Any) -> str:
    """Return the description of a value's type."""
    if isinstance(value, datetime.date):
        return "a date"
    return next((text for name, (test, text, _) in TYPES.items() if name != "path" and test(value)), "a value")


def check(path: str, value: Any, option: Mapping[str, Any], show: Show = shown) -> Iterator[Finding]:
    """Yield what is wrong with a value, nested ones included; `show` returns a value for the message, or ""."""
    wanted = option.get("type", "str")
    test, described, how = TYPES[wanted]
    if value is None:
        if option.get("required") or option.get("default") is not None:
            yield Finding("is empty (null)", "give it a value, or remove it", path)
        return
    if value in ("", []) and (option.get("required") or option.get("default") != value):
        yield Finding("is empty", "give it a value, or remove it", path)
        return
    if not test(value):
        yield Finding(f"must be {described}, but is {kind(value)}{_quoted(show(value))}", how, path)
        return
    choices = option.get("choices")
    if choices and value not in choices:
        advice = f"choose one of: {', '.join(map(str, choices))}"
        yield Finding(f"is not one of the choices{_quoted(show(value))}", advice, path)
    elif wanted == "path" and not value.startswith("/"):
        yield Finding(f"is not an absolute path{_quoted(show(value))}", "begin the path with /", path)
    elif wanted == "list":
        yield from _check_items(path, value, option, show)
    elif wanted == "dict" and "options" in option:
        yield from _check_keys(path, value, option["options"], show)
    elif wanted in ("dict", "raw"):
        yield from not_json(path, value)


def _check_items(path: str, items: list[Any], option: Mapping[str, Any], show: Show) -> Iterator[Finding]:
    element = {
        "type": option.get("elements", "raw"),
        "required": True,
        **{key: option[key] for key in ("options", "choices") if key in option},
    }
    for index, item in enumerate(items):
        slug = item.get("slug") if isinstance(item, Mapping) else None
        label = f" (slug {shown(slug)})" if isinstance(slug, str) and show(slug) else ""
        yield from check(f"{path}[{index}]{label}", item, element, show)


def _check_keys(path: str, value: Mapping[Any, Any], options: Mapping[str, Any], show: Show) -> Iterator[Finding]:
    for key in value:
        if key not in options:
            advice = did_you_mean(str(key), options, f"remove it, or use one of: {', '.join(options)}")
            yield Finding(f"unknown key {shown(str(key))}", advice, path)
    for key, option in options.items():
        if key in value:
            yield from check(f"{path}.{key}", value[key], option, show)
        elif option.get("required"):
            yield Finding(f'lacks the key "{key}"', f"add {key}: {_summary(option)}", path)


def not_json(path: str, value: Any) -> Iterator[Finding]:
    """Yield what JSON cannot represent: dates, numbers as keys, not-a-number."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield Finding(f"has the key {shown(key)}, which is not a string", "put the key in quotes", path)
            else:
                yield from not_json(f"{path}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from not_json(f"{path}[{index}]", inner)
    elif value is not None and not isinstance(value, (str, bool)) and not is_float(value):
        yield Finding(f"is {kind(value)}, which JSON cannot represent", "put it in quotes", path)


def _quoted(value: str) -> str:
    return f": {value}" if value else ""


def _summary(option: Mapping[str, Any]) -> str:
    description = option.get("description", "")
    text = description if isinstance(description, str) else " ".join(description)
    return text.split(". ")[0].rstrip(".") or "a value"
