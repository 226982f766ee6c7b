"""Checks of the packages that an environment adds: entries of `pip` are requirements, entries of `apt` package names.

Both lists become files of a build, whose tools would take more: an option changes where all packages come from, and a
path is looked for in the build, where the operator's files are not.
"""

import re

from .formatting import shown

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"(?:===|[=~!<>]=|[<>])\s*[\w.*+!-]+"
_VERSIONS = rf"{_VERSION}(?:\s*,\s*{_VERSION})*"
_URL = r"(?:git|hg|svn|bzr)\+[a-z]+://\S+|https?://\S+"
# https://packaging.python.org/en/latest/specifications/dependency-specifiers/
REQUIREMENT = re.compile(
    rf"(?:{_NAME}\s*(?:\[[\w.,\s-]*\])?\s*(?:@\s*(?:{_URL}|file:///\S+)|\(?\s*(?:{_VERSIONS})?\s*\)?)|{_URL})"
    r"(?:\s*;[^#\n]+)?(?:\s+--hash=\w+:\w+)*(?:\s+#.*)?"
)
# A name, and perhaps an architecture, and a version, which may be a pattern, or a release of the distribution.
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](?::[a-z0-9-]+)?(?:=[A-Za-z0-9.+:~*?-]+|/[A-Za-z0-9.+:~-]+)?")
_OPTION = re.compile(r"-(?:-[A-Za-z-]+|[A-Za-z])")
# On the operator's machine.  `name @ file:///...` is a file that a package of `apt` brings.
# Most endings are in names of packages, too (ruamel.yaml): besides archives, only the files that other tools read.
_LISTS = r"(?:[\w.-]*requirements[\w.-]*|constraints)\.txt|environment\.ya?ml|pyproject\.toml"
_PATH = re.compile(
    rf"[./~]|file:|[A-Za-z]:\\|(?!\S*://)(?:[^\s@]*/|\S+\.(?:whl|zip|tgz|tar\.(?:gz|bz2|xz))$|(?:{_LISTS})$)"
)
_PATH_OF_DEB = re.compile(r"[./~]|\S*:/|\S+\.deb$")
_LISTED = re.compile(r"[\s,]+")
_AT_START = re.compile(rf"({_NAME})(?!\S*://)")
_REFUSED = {
    "jupyter-server-documents": (
        "replaces live collaboration by a backend that has lost notebooks",
        "remove it (jupyter-ai needs it before 3.2: write jupyter-ai>=3.2)",
    )
}
"""Packages that break users' servers, by normalized name: what is wrong, and the fix.

What other packages bring along is found when an image is tested (images/singleuser/libexec/try_server.py).
"""
_DOCKERFILE = "use dockerfile, with a folder that has what it needs"
_OTHER_LISTS = ("-r", "--requirement", "-c", "--constraint")
_INDEXES = ("-i", "--index-url", "--extra-index-url", "--default-index", "--index", "--no-index", "-f", "--find-links")


def wrong_requirement(entry: str) -> tuple[str, str] | None:
    """Return what is wrong with an entry of `pip`, and the fix; None if it is one requirement."""
    text = entry.strip()
    if option := _OPTION.match(text):
        return f"is an option of pip: {shown(option[0])}", _instead_of(option[0])
    if _PATH.match(text):
        return (
            f"is a path, and the build does not have that file: {shown(text)}",
            f"write the package's name or its https:// address, or {_DOCKERFILE}",
        )
    if REQUIREMENT.fullmatch(text):
        return _refused(text)
    if several := _several(text, REQUIREMENT):
        return several
    return f"is not a requirement: {shown(text)}", "write one such as geopandas, rasterio==1.4.3 or dask[array]>=2026.1"


def wrong_package(entry: str) -> tuple[str, str] | None:
    """Return what is wrong with an entry of `apt`, and the fix; None if it is one package."""
    text = entry.strip()
    if option := _OPTION.match(text):
        return f"is an option of apt-get: {shown(option[0])}", f"write only names of packages, or {_DOCKERFILE}"
    if _PATH_OF_DEB.match(text):
        return (
            f"is a path, and the build does not have that file: {shown(text)}",
            f"write the package's name, or {_DOCKERFILE}",
        )
    if PACKAGE.fullmatch(text):
        return None
    if several := _several(text, PACKAGE):
        return several
    return f"is not the name of a Debian package: {shown(text)}", "write one such as gdal-bin or libpq-dev=17.2-1"


def _refused(requirement: str) -> tuple[str, str] | None:
    name = _AT_START.match(requirement)
    # https://packaging.python.org/en/latest/specifications/name-normalization/
    found = _REFUSED.get(re.sub(r"[-_.]+", "-", name[1]).lower()) if name else None
    return (f"{found[0]}: {shown(requirement)}", found[1]) if found else None


def _instead_of(option: str) -> str:
    if option in _OTHER_LISTS:
        return "write each line of that file as an entry of its own"
    if option in _INDEXES:
        return f"set images_pip_index_url, which is for all images, or {_DOCKERFILE}"
    return f"write the package's name or its https:// address, or {_DOCKERFILE}"


def _several(text: str, form: re.Pattern[str]) -> tuple[str, str] | None:
    """Return what is wrong with an entry that lists several packages; None if it does not."""
    names = [each for each in _LISTED.split(text) if each]
    if len(names) < 2 or not all(form.fullmatch(each) for each in names):
        return None
    return f"has {len(names)} packages in one entry: {shown(text)}", f"write them as a list: [{', '.join(names)}]"
