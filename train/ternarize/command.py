"""One run of the command: options -> teacher, prompts, stages, the student's folder."""

import shutil
from dataclasses import fields

from export.errors import ExportError
from train.ternarize import plan, processes
from train.ternarize.family import open_teacher
from train.ternarize.files import refuse_foreign
from train.ternarize.progress import Progress
from train.ternarize.prompts import read_prompts
from train.ternarize.run import Run
from train.ternarize.settings import TEXT_ENCODER, Settings, with_defaults
from train.ternarize.stages import run_stages, write_student


def run(options):
    """Does what the command line asks. Raises ExportError."""
    if options.component == TEXT_ENCODER:
        from train.ternarize.text_encoder import command

        return command.run(options)
    if options.dry_run:
        return print(plan_of(options))
    refuse_foreign(options.out)
    device = processes.start(options.device)
    progress = Progress(silent=processes.rank() != 0)
    try:
        own = make_run(options, device, progress)
        own.prepare(options.trajectories or own.work / "trajectories")
        run_stages(own)
        write_student(own, options.out)
    finally:
        progress.close()
        processes.stop()
    if not progress.silent:
        last = own.record["stages"][-1]["summary"]
        print(f"{options.out}: {options.bits}, held-out velocity cosine {last['cosine']:.4f}, "
              f"relative error {last['error']:.4f}; figures in {options.out / 'report'}")


def plan_of(options):
    """What the run would take, as a text; no weight is loaded and nothing is written."""
    settings = read_settings(options)
    hardware = plan.Hardware(options.gpus, options.teraflops, options.share, options.gigabytes)
    hardware.check()
    settings.check(hardware.gpus)
    prompts = read_prompts(options.prompts, settings.held_out)
    family = open_teacher(options.model, options.steps, options.width, options.height,
                          options.group)
    counted = plan.make_plan(family, settings, prompts, hardware.gpus)
    return plan.as_text(counted, family, settings, prompts, hardware)


def make_run(options, device, progress):
    """A Run of the options, before anything heavy is loaded."""
    settings = read_settings(options)
    settings.check(processes.count())
    prompts = read_prompts(options.prompts, settings.held_out)
    family = open_teacher(options.model, options.steps, options.width, options.height,
                          options.group)
    work = prepare_work(options)
    return Run(settings, family, prompts, work, device, progress, 60 * options.save_minutes)


def prepare_work(options):
    """The folder of checkpoints, without the one that --restart forgets. Raises ExportError."""
    work = options.work or options.out.with_name(options.out.name + ".work")
    if options.restart and processes.rank() == 0:
        for name in ("checkpoint", "checkpoint.previous", "checkpoint.partial"):
            shutil.rmtree(work / name, ignore_errors=True)
    processes.wait()
    if work.exists() and not work.is_dir():
        raise ExportError(f"--work {work}: is a file, expected a folder")
    return work


def read_settings(options):
    names = {entry.name for entry in fields(Settings)}
    values = {name: value for name, value in vars(options).items() if name in names}
    return with_defaults(values | {"skip": tuple(sorted(set(options.skip)))})
