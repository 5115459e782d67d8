"""Model families: a file that defines one Family, and a line here. This is the one registry."""

from export.families.flux1 import FLUX1
from export.families.flux2 import FLUX2
from export.families.sana import SANA

FAMILIES = {family.name: family for family in (FLUX2, SANA, FLUX1)}
