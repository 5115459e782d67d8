"""python -m tests.types: writes web/types/trefoil.d.ts as it follows from the JSDoc of web/."""

from tests.types.declarations import WRITTEN, declarations

WRITTEN.write_text(declarations(), encoding="utf-8", newline="\n")
