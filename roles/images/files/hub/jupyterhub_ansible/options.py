"""A user's choice from the catalogue: the form that offers it, and the check of what comes back."""

from collections.abc import Collection, Iterable, Mapping
from html import escape

from .settings import Environment

_CHOICE = """\
<div class="form-check mb-2">
  <input class="form-check-input" type="radio" name="profile" id="profile-{slug}" value="{slug}"
         aria-describedby="profile-{slug}-about" required{checked}>
  <label class="form-check-label" for="profile-{slug}">{title}</label>
  <div class="form-text" id="profile-{slug}-about">{description}</div>
</div>
"""


class ChoiceError(ValueError):
    """A choice that the catalogue does not have, in words for the user."""


def form(environments: Collection[Environment], default: str) -> str:
    """HTML of the choice, inside the form of JupyterHub's spawn page; "" if there is nothing to choose."""
    if len(environments) < 2:
        return ""
    choices = (
        _CHOICE.format(
            slug=environment.slug,
            title=escape(environment.title),
            description=escape(environment.description),
            checked=" checked" if environment.slug == default else "",
        )
        for environment in environments
    )
    return f"<fieldset>\n<legend>Environment</legend>\n{''.join(choices)}</fieldset>"


def options_from_form(formdata: Mapping[str, list[str]]) -> dict[str, str]:
    """User options from form data or from a link's `opt-` arguments (lists of strings, one per field).

    Raises:
        ChoiceError: a field was given more than once.
    """
    # A form that was sent and failed has JupyterHub's token in its address.
    fields = {key: values for key, values in formdata.items() if key != "_xsrf"}
    if any(len(values) != 1 for values in fields.values()):
        raise ChoiceError("Choose one environment.")
    return {key: values[0] for key, values in fields.items()}


def _listed(words: Iterable[object]) -> str:
    return ", ".join(sorted(str(word) for word in words))


def choose(options: Mapping[str, object], slugs: Collection[str], default: str) -> str:
    """Slug of the chosen environment, the default one if `options` is empty.

    Raises:
        ChoiceError: an unknown option, or an environment that is not in the catalogue.
    """
    if unknown := set(options) - {"profile"}:
        raise ChoiceError(f"Unknown option: {_listed(unknown)}. The only option is profile.")
    slug = options.get("profile", default)
    if not isinstance(slug, str) or slug not in slugs:
        raise ChoiceError(f"There is no environment of that name. Choose one of: {_listed(slugs)}.")
    return slug
