"""User options: the profiles and sizes a user may choose from, and validation of options from form, link or REST API.

Options are stored as slugs (`{"profile": ..., "size": ...}`), so that the next start uses a new image.
The exception is a freely chosen image, which is stored by its reference (`{"image": ...}`).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..settings.model import Environment, Size

FREE_IMAGE = "_image"
"""The start page's value for a freely chosen image; slugs have no underscores."""
FREE_HOME = "/home/jovyan"
FREE_URL = "/lab"
"""Of a freely chosen image: as in ours and in Jupyter Docker Stacks."""

# A name, optionally with a tag, a digest or both (github.com/distribution/reference).
_REFERENCE = re.compile(
    r"[a-zA-Z0-9]+([.-][a-zA-Z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_REFERENCE_LENGTH = 512


class ChoiceError(ValueError):
    """An invalid choice; the message is for the user."""


@dataclass(frozen=True)
class Choice:
    """What a server is started with; without a size, the default limits apply."""

    environment: Environment
    size: Size | None = None
    free_image: bool = False

    @property
    def options(self) -> dict[str, object]:
        """The choice as complete user options."""
        if self.free_image:
            return {"image": self.environment.image}
        return {"profile": self.environment.slug, **({"size": self.size.slug} if self.size else {})}


def _listed(words: Iterable[object]) -> str:
    return ", ".join(str(word) for word in words)


def _shown(value: object) -> str:
    """Return a stored value for a message; "" if it looks unsafe, since stored options are unvalidated."""
    return f" {value}" if isinstance(value, str) and re.fullmatch(r"[\w.:/@-]{1,80}", value) else ""


def matches(pattern: str, reference: str) -> bool:
    """Return whether an image reference matches; `*` in the pattern matches anything but a slash.

    If the pattern has a tag, `*` does not match a digest either, because a digest overrides the tag.
    """
    star = "[^/@]*" if ":" in pattern.rpartition("/")[2] else "[^/]*"
    form = star.join(re.escape(part) for part in pattern.split("*"))
    return len(reference) <= _REFERENCE_LENGTH and bool(
        _REFERENCE.fullmatch(reference) and re.fullmatch(form, reference)
    )


def without_tag(reference: str) -> str:
    """Return an image's name without its tag; a colon before the last slash belongs to a port."""
    path, slash, name = reference.rpartition("/")
    return f"{path}{slash}{name.partition(':')[0]}"


@dataclass(frozen=True)
class Catalogue:
    """What one user may choose from.

    `environments` by slug, in the operator's order; `patterns` of images that the user may choose freely.
    """

    environments: Mapping[str, Environment]
    default: str
    patterns: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        names: Collection[str],
        groups: Collection[str],
        environments: Mapping[str, Environment],
        default: str,
        free_images: Mapping[str, Iterable[str]],
    ) -> "Catalogue":
        """Return what a user with these names and groups may use.

        Raises:
            ChoiceError: nothing at all.
        """
        open_to_user = {
            slug: environment
            for slug, environment in environments.items()
            if not (environment.groups or environment.users)
            or not environment.users.isdisjoint(names)
            or not environment.groups.isdisjoint(groups)
        }
        patterns = dict.fromkeys(
            pattern for group, patterns in free_images.items() if group in groups for pattern in patterns
        )
        if not open_to_user:
            raise ChoiceError("No environment is open to you here. Please ask the administrator.")
        return cls(
            open_to_user, default if default in open_to_user else next(iter(open_to_user)), tuple(sorted(patterns))
        )

    @property
    def is_a_choice(self) -> bool:
        """Whether there is anything to choose."""
        return (
            len(self.environments) > 1
            or bool(self.patterns)
            or any(len(environment.sizes) > 1 for environment in self.environments.values())
        )

    def choose(self, options: Mapping[str, object]) -> Choice:
        """Return the choice that these options name; missing ones default to the default environment and first size.

        Raises:
            ChoiceError: this user may not choose that.
        """
        known = ["profile", "size", *(["image"] if self.patterns else [])]
        if unknown := sorted(set(options) - set(known)):
            raise ChoiceError(f"Unknown option: {_listed(unknown)}. The options are {_listed(known)}.")
        if "image" in options:
            if len(options) > 1:
                raise ChoiceError("An image of your own has no profile or size: give image alone.")
            return self._free(options["image"])
        environment = self._environment(options.get("profile", self.default))
        return Choice(environment, self._size(environment, options.get("size")))

    def _environment(self, slug: object) -> Environment:
        # The same message whether it does not exist or is not open to this user.
        if not isinstance(slug, str) or slug not in self.environments:
            raise ChoiceError(f"There is no environment of that name. Choose one of: {_listed(self.environments)}.")
        return self.environments[slug]

    def _size(self, environment: Environment, slug: object) -> Size | None:
        if slug is None:
            return next(iter(environment.sizes), None)
        for size in environment.sizes:
            if size.slug == slug:
                return size
        sizes = _listed(size.slug for size in environment.sizes)
        advice = f"Choose one of: {sizes}." if sizes else "It has no sizes."
        raise ChoiceError(f"The environment {environment.slug} has no size of that name. {advice}")

    def _free(self, reference: object) -> Choice:
        if not isinstance(reference, str) or not any(matches(pattern, reference) for pattern in self.patterns):
            raise ChoiceError(f"That image is not allowed. What is allowed: {_listed(self.patterns)}.")
        image = Environment(
            slug="image", title=reference, description="", image=reference, default_url=FREE_URL, home=FREE_HOME
        )
        return Choice(image, free_image=True)

    def recall(self, options: Mapping[str, object]) -> tuple[Choice, str]:
        """Return the choice that stored options stand for today, and a notice for the user if it had to change."""
        image, profile, size = (options.get(key) for key in ("image", "profile", "size"))
        if image is not None:
            try:
                return self._free(image), ""
            except ChoiceError:
                return self._instead(f"The image{_shown(image)}")
        try:
            environment = self._environment(self.default if profile is None else profile)
        except ChoiceError:
            return self._instead(f"The environment{_shown(profile)}")
        try:
            return Choice(environment, self._size(environment, size)), ""
        except ChoiceError:
            choice = Choice(environment, self._size(environment, None))
            now = f"{choice.size.name} takes its place" if choice.size else "there is one size only"
            return choice, f"The size{_shown(size)}, which you used last, is no longer offered: {now}."

    def _instead(self, what: str) -> tuple[Choice, str]:
        choice = self.choose({})
        return choice, f"{what}, which you used last, is no longer offered: {choice.environment.title} takes its place."


def options_from_form(formdata: Mapping[str, list[str]]) -> dict[str, object]:
    """Return user options from form data or from a link's `opt-` arguments (lists of strings, one per field).

    The start page has a size field for every environment and a field for the image reference; only the chosen one's
    field counts.

    Raises:
        ChoiceError: a field was given more than once.
    """
    # After a failed submission, the form's URL includes JupyterHub's XSRF token.
    fields = {key: values for key, values in formdata.items() if key != "_xsrf"}
    if any(len(values) != 1 for values in fields.values()):
        raise ChoiceError("Choose one environment.")
    given: dict[str, object] = {key: values[0] for key, values in fields.items()}
    sizes = {key.removeprefix("size-"): given.pop(key) for key in list(given) if key.startswith("size-")}
    reference = str(given.pop("image-reference", ""))
    if given.get("profile") == FREE_IMAGE:
        return {"image": reference.strip()}
    if given.get("profile") in sizes:
        given.setdefault("size", sizes[str(given["profile"])])
    return given
