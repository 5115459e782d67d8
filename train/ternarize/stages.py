"""The stages in their order, each resumed where a checkpoint left it, and the student's folder.

init          exact least squares in each group
reconstruct   block by block, on the teacher's own activations (reconstruct.py)
train         straight-through, on velocities (descent.py)
finish        values fixed, the rest tuned as it is stored (descent.py)
"""

import shutil

from train.ternarize import processes
from train.ternarize.descent import Descent
from train.ternarize.files import REPORT, folder_bytes, replace_folder
from train.ternarize.grid import FITS
from train.ternarize.reconstruct import reconstruct
from train.ternarize.report import write_report

COMPONENTS = ("transformer", "text_encoder", "text_encoder_2", "vae")


def init(run):
    run.student.initialise(FITS[run.settings.scales])


def learn(run):
    Descent(run).run_all()


def finish(run):
    if not run.student.frozen:
        run.student.freeze()
    learn(run)


STAGES = {"init": init, "reconstruct": reconstruct, "train": learn, "finish": finish}


def run_stages(run, stages=STAGES):
    """Every stage that is still to do; skipped ones leave no trace but their name."""
    while run.stage is not None:
        if run.stage in run.settings.skip:
            run.skip()
            continue
        run.begin()
        stages[run.stage](run)
        run.end()


def write_student(run, out):
    """The student's folder with its report, beside its place first and then in it."""
    partial = out.with_name(out.name + ".partial")
    tensors = run.student.tensors()
    if processes.rank() != 0:
        for _ in tensors:  # gathering a tensor takes all processes
            pass
        processes.wait()
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    settings = run.settings
    run.family.write(partial, settings.bits, tensors, settings.text_encoder_bits)
    write_report(partial / REPORT, run, sizes(partial, run.family.folder))
    replace_folder(out, partial)
    processes.wait()


def sizes(out, teacher):
    """component -> bytes in the teacher's and in the student's folder."""
    table = {}
    for side, folder in (("teacher", teacher), ("student", out)):
        for path in sorted(folder.iterdir()):
            component = path.name.split("-")[0]
            if path.is_dir() and component in COMPONENTS:
                table.setdefault(component, {})[side] = folder_bytes(path)
    return table
