"""Model families by the class in model_index.json: a family is a module and a line here."""

from export.denoisers import flux2

FAMILIES = {"Flux2KleinPipeline": flux2}
