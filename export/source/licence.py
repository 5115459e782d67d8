"""The licence that a model's card names, or the card of the model that it was made from."""

from export.site.headers import HUB
from export.source.front_matter import read_front_matter

KEYS = ("license", "license_name", "license_link")
MOST_BASES = 3  # quantised from fine-tuned from ...


def read_licence(card, origin, read_base=None):
    """{key: text, or list of texts} of KEYS, as the hub's cards have them; {} where none is named.

    card: the path of the model's README.md, or None; origin: the repository and revision that it
    comes from, or {}. A card without a licence may name its base model: read_base(repository)
    gives that one's (card, origin), or None.
    """
    for _ in range(1 + MOST_BASES):
        told = read_front_matter(card)
        if told.get("license"):
            return {key: absolute(key, told[key], origin) for key in KEYS if told.get(key)}
        base = told.get("base_model")
        base = base[0] if isinstance(base, list) and len(base) == 1 else base
        found = read_base(base) if read_base and isinstance(base, str) and base else None
        if not found:
            return {}
        card, origin = found
    return {}


def absolute(key, value, origin):
    """A link to a file beside the card of a repository becomes an address."""
    if key != "license_link" or not isinstance(value, str) or not origin or ":" in value:
        return value
    file = value.removeprefix("./").lstrip("/")
    return f"https://{HUB}/{origin['repository']}/blob/{origin['revision']}/{file}"
