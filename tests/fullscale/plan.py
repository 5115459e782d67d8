"""GPU memory and work of pictures of the published size, by stage, as rehearsals in a page count.

    python -m tests.fullscale.plan CHECKPOINT... [--sides 512 1024 2048] [--steps N]

A CHECKPOINT may be hollow (python -m tests.fullscale ... --hollow). A step is one after the first,
of all its texts; bytes are those of the tensors that kernels read or write, each once a dispatch.
"""

import argparse
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from tests.conftest import launch
from tests.fullscale.hollow import hollow_model, manifest_of
from tests.fullscale.rehearsing import Rehearsals

WORK_SIDES = 1024  # larger ones are not counted


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fullscale.plan", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048],
                        help="of square pictures, in pixels")
    parser.add_argument("--steps", type=int, help="default: the model's own")
    options = parser.parse_args()
    manifests = {folder.name: manifest_of(hollow_model(folder)) for folder in options.checkpoints}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        with Rehearsals(browser) as rehearsals:
            print_plans(rehearsals, manifests, options.sides)
            print()
            print_work(rehearsals, manifests, options.sides, options.steps)
        browser.close()


def print_plans(rehearsals, manifests, sides):
    print("| model | size | memory | encode | denoise | decode | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, manifest in manifests.items():
        for side in sides:
            for memory in ("auto", "small"):
                try:
                    plan = rehearsals.plan(manifest, side, side, memory)
                except Error as error:  # of the page, in its own words
                    why = error.message.splitlines()[0].partition("ShapeError: ")[2]
                    print(f"| {name} | {side} x {side} | {memory} | {why} |||| |", flush=True)
                    continue
                stages = (f"{plan['stageBytes'][stage] / 1e6:,.0f}"
                          for stage in ("encode", "denoise", "decode"))
                print(f"| {name} | {side} x {side} | {memory} |", " | ".join(stages),
                      f"| {plan['peakBytes'] / 1e6:,.0f} MB |", flush=True)


def print_work(rehearsals, manifests, sides, steps):
    print("| model | size | steps | encode | a step | all steps | decode | picture |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, manifest in manifests.items():
        for side in sides:
            if side > WORK_SIDES:
                continue
            work = rehearsals.work(manifest, side, side, steps)
            stages = work["stages"]
            whole = {kind: sum(stages[stage][kind] for stage in ("encode", "denoise", "decode"))
                     for kind in ("flop", "bytes")}
            columns = [stages[stage] for stage in ("encode", "step", "denoise", "decode")]
            cells = (f"{each['flop'] / 1e12:.2f} TFLOP, {each['bytes'] / 1e9:.1f} GB"
                     for each in (*columns, whole))
            print(f"| {name} | {side} x {side} | {work['steps']} |", " | ".join(cells), "|",
                  flush=True)


if __name__ == "__main__":
    main()
