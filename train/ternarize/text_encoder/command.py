"""One run of --component text_encoder: options -> teacher, prompts, stages, student's folder."""

import shutil

from export.errors import ExportError
from export.finding import find_model
from export.opening import open_model
from train.ternarize import processes
from train.ternarize.command import prepare_work, read_settings
from train.ternarize.files import REPORT, folder_bytes, refuse_foreign, replace_folder
from train.ternarize.progress import Progress
from train.ternarize.prompts import read_prompts
from train.ternarize.settings import TEXT_ENCODER, flag
from train.ternarize.stages import run_stages
from train.ternarize.text_encoder.figures import write_report
from train.ternarize.text_encoder.folder import write_folder
from train.ternarize.text_encoder.opening import open_student, open_teacher
from train.ternarize.text_encoder.run import STAGES, EncoderRun


def run(options):
    """Does what the command line asks. Raises ExportError."""
    refuse_drawing(options)
    refuse_foreign(options.out)
    device = processes.start(options.device)
    progress = Progress(silent=processes.rank() != 0)
    try:
        own = make_run(options, device, progress)
        rest = open_rest(options, own)
        own.prepare()
        run_stages(own, STAGES)
        write_student(own, rest, options.out)
    finally:
        progress.close()
        processes.stop()
    if not progress.silent:
        last = own.record["stages"][-1]["summary"]
        print(f"{options.out}: {options.bits} text encoder, held-out row cosine "
              f"{last['cosine']:.4f}, relative error {last['error']:.4f}; figures in "
              f"{options.out / 'report'}")


def refuse_drawing(options):
    """An encoder learns without a drawing: what only concerns drawings is refused."""
    for name in ("dry_run", "trajectories", "steps", "width", "height", "group"):
        if getattr(options, name):
            raise ExportError(f"{flag(name)} is of the transformer's run, got --component "
                              f"{TEXT_ENCODER}; leave one of the two out")


def make_run(options, device, progress):
    """An EncoderRun of the options, before anything heavy is loaded."""
    settings = read_settings(options)
    settings.check(processes.count())
    prompts = read_prompts(options.prompts, settings.held_out)
    opened = open_teacher(options.model)
    path = options.student_encoder
    encoder = open_student(path, opened) if path else opened.encoder
    work = prepare_work(options)
    return EncoderRun(settings, encoder, prompts, work, device, progress,
                      60 * options.save_minutes, opened=opened)


def open_rest(options, own):
    """export's Model of --denoiser, whose other parts the folder will have; else the teacher's."""
    if options.denoiser is None:
        return own.opened.model
    return open_model(find_model(options.denoiser))


def write_student(own, rest, out):
    """The student's folder with its report, beside its place first and then in it."""
    partial = out.with_name(out.name + ".partial")
    tensors = own.student.tensors()
    if processes.rank() != 0:
        for _ in tensors:  # gathering a tensor takes all processes
            pass
        processes.wait()
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_folder(partial, own, rest, tensors)
    part = own.opened.part
    student = next(partial.glob(f"{part.folder}-mlx-*"))
    sizes = {part.name: {"teacher": folder_bytes(own.opened.encoder.folder),
                         "student": folder_bytes(student)}}
    write_report(partial / REPORT, own, sizes)
    replace_folder(out, partial)
    processes.wait()
