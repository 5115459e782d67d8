"""Model families: a file that defines one Family, and a line here. This is the one registry."""

from export.families.flux2 import FLUX2

FAMILIES = {FLUX2.name: FLUX2}
