"""Where the site and its weights will lie."""

import re
from dataclasses import dataclass

from export.headers import HUB

HUB_REPOSITORY = re.compile(rf"https://{re.escape(HUB)}/([\w.-]+/[\w.-]+)/resolve/")


@dataclass(frozen=True)
class Places:
    """`weights_url` ends with a slash; None: the site carries its weights.

    A weights repository has a `weights_url` of its branch until the commit is known.
    """

    weights_url: str | None = None
    weights_repo: str | None = None  # USER/MODEL
    space: str | None = None  # USER/SPACE
    endpoint: str | None = None  # the hub's, where one of the two repositories is given

    @classmethod
    def of(cls, options):
        """The places that the command line names."""
        url = options.weights_url and options.weights_url.rstrip("/") + "/"
        if not options.publish:
            match = HUB_REPOSITORY.match(url or "")
            return cls(url, match[1] if match else None)
        from huggingface_hub import HfApi  # an import that most runs need not wait for

        places = cls(url, options.weights_repo, options.publish, HfApi().endpoint)
        return places if not options.weights_repo else places.pinned("main")

    def pinned(self, revision):
        """The same with the weights at a revision of their repository."""
        url = f"{self.endpoint}/{self.weights_repo}/resolve/{revision}/"
        return Places(url, self.weights_repo, self.space, self.endpoint)

    @property
    def thumbnail(self):
        """The address of a picture for the Space's card; relative while the Space is unknown."""
        path = "thumbnail.jpg"
        return f"{self.endpoint}/spaces/{self.space}/resolve/main/{path}" if self.space else path


def weights_folder(out):
    """The folder beside the site that takes the weights of a site that does not carry them."""
    return out.with_name(f"{out.name}-weights")
