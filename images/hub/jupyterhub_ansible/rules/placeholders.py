"""Placeholders that still have to be replaced by a value."""

import re

PLACEHOLDER = re.compile(
    r"(change|replace|fill|insert|enter)[-_ ]?(me|this|it|in|here)\b.*|to[-_ ]?do\b.*|fixme\b.*|tbd|x{3,}|\.{3,}|"
    r"placeholder.*|your[-_ ].*|<.*>",
    re.IGNORECASE,
)
# Common placeholders for secrets, which are never real ones.
SECRET_PLACEHOLDER = re.compile(
    r"(my[-_ ]?)?(top[-_ ]?)?(secret|password|passwd|token|key|example|none|null)", re.IGNORECASE
)
# RFC 2606 reserves these names for documentation.
EXAMPLE_HOST = re.compile(r"(^|[/@.])(example\.(org|com|net)|your[-_]?(domain|host|server)\b)", re.IGNORECASE)
# Hetzner's machines really have such names.
REAL_HOST = re.compile(r"\.your-server\.de\b", re.IGNORECASE)


def is_placeholder(value: str, *, secret: bool = False) -> bool:
    """Return whether a value is a placeholder."""
    text = value.strip()
    if secret and SECRET_PLACEHOLDER.fullmatch(text):
        return True
    return bool(PLACEHOLDER.fullmatch(text) or EXAMPLE_HOST.search(REAL_HOST.sub("", text)))
