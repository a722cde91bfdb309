"""Command line: flags in, exit status out; the runner does the rest."""

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from absl import app, flags

from slicebench import remote, runner
from slicebench.errors import InputError

FLAGS = flags.FLAGS

_LIMITS = (runner.OutOfMemoryError, runner.LostBatchError)

_ANNOTATIONS = "train_on_annotations"
"""The experiment that trains on a plan's finished slices instead of a dataset."""
_OF_ANNOTATIONS = (
    *("dims", "num_seeds", "steps", "batch", "learning_rate", "width", "depth"),
    *("max_size", "field_of_view", "ct_window", "checkpoint_seconds"),
)

flags.DEFINE_string(
    "experiment",
    "budget_sweep",
    "Name in experiments/, path of your own .py file, or train_on_annotations with "
    "--data=PLAN[,SEGMENTATIONS...]: what came back for a plan of slicebench.planning.",
)
flags.DEFINE_list("data", None, "Dataset folders that replace the embedded tasks.")
flags.DEFINE_string(
    "workdir",
    None,
    "Work folder, or its URL on an object store, such as s3://bucket/prefix (default "
    "runs/<experiment>).",
)
flags.DEFINE_list("tasks", None, "Embedded phantom tasks.")
flags.DEFINE_list("budgets", None, "Annotated slices in total.")
flags.DEFINE_list("slices_per_volume", None, "Annotated slices of a volume.")
flags.DEFINE_list("strategies", None, "Slice strategies.")
flags.DEFINE_list("volume_strategies", None, "Volume strategies.")
flags.DEFINE_list("features", None, "Slice features for strategies that use them.")
flags.DEFINE_list("scope", None, "within (equal quota a volume) or pooled.")
flags.DEFINE_string("pooled_from", None, "Scope pooled: chosen volumes or the pool.")
flags.DEFINE_list("interpolations", None, "Mask interpolations.")
flags.DEFINE_list("pseudo_weights", None, "Loss weights of interpolated slices.")
flags.DEFINE_list("dims", None, "2d or 3d networks.")
flags.DEFINE_list("steps", None, "Optimiser steps.")
flags.DEFINE_list("steps_factors", None, "Multiples of the steps: 0.5,1,2.")
flags.DEFINE_integer("batch", None, "Slices (2D) or patches (3D) in a batch.")
flags.DEFINE_float("learning_rate", None, "Peak learning rate of the optimiser.")
flags.DEFINE_string(
    "dice_classes",
    None,
    "Classes in the Dice part of the loss: all, or those present in a batch, which "
    "helps where a batch lacks most classes.",
)
flags.DEFINE_integer("width", None, "Channels of the network at full resolution.")
flags.DEFINE_integer("depth", None, "Resolution levels of the network.")
flags.DEFINE_string("precision", None, "float32 or bfloat16 arithmetic of networks.")
flags.DEFINE_integer("num_seeds", None, "Seeds of every cell.")
flags.DEFINE_integer("ceiling_seeds", None, "Seeds of the network on all labels.")
flags.DEFINE_string(
    "feature_file", None, "Your own slice features (.npz or .parquet): --features=file."
)
flags.DEFINE_string(
    "strata_file",
    None,
    "FILE or FILE:COLUMN (.csv or .tsv with a column case), the stratum of each case: "
    "--volume_strategies=stratified.",
)
flags.DEFINE_list("target_labels", None, "Classes to segment; + merges labels.")
flags.DEFINE_integer("slice_axis", None, "Array axis that runs over slices.")
flags.DEFINE_string("splits_file", None, "Your own splits_final.json.")
flags.DEFINE_integer("split_seed", 0, "Seed of the split.", lower_bound=0)
flags.DEFINE_integer("max_size", 96, "Largest height and width of the grid.")
flags.DEFINE_float(
    "field_of_view",
    None,
    "Side in mm of the central square of each slice that is kept (default: all).",
)
flags.DEFINE_list(
    "ct_window",
    None,
    "LOW,HIGH: intensities between which CT is told apart, in the unit of the stored "
    "images (default: percentiles of the pool's body voxels).",
)
flags.DEFINE_bool("smoke", False, "The same path, tiny.")
flags.DEFINE_bool("dry_run", False, "Print what would be done, and stop.")
flags.DEFINE_bool("status", False, "Print how far the work folder is, and stop.")
flags.DEFINE_bool(
    "stop_when_decided",
    False,
    "Train up to 8, 16 and 32 seeds in turn (fewer with --num_seeds), look at the "
    "contrasts after each, and stop where all primary ones are decided or no more "
    "seeds could decide them.",
)
flags.DEFINE_string(
    "shard",
    None,
    "I/N: train share I of N (I from 0) alone, in the folder shard-I-of-N of the work "
    "folder; for job arrays. slicebench.report unites the shares.",
)
flags.DEFINE_bool(
    "tensorboard",
    False,
    "Write learning curves and development scores of finished trials to "
    "WORKDIR/tensorboard while the sweep runs.",
)
flags.DEFINE_bool(
    "retry_failed",
    False,
    "Train trials of the work folder again whose training failed; --status lists them.",
)
flags.DEFINE_enum(
    "executor",
    "local",
    ["local", "ray"],
    "Who trains: this process, or the workers of a Ray cluster.",
)
flags.DEFINE_string(
    "ray_address",
    None,
    "HOST:PORT of the cluster's head node, or auto on a node of a running cluster "
    "(default: a cluster of this machine alone is started).",
)
flags.DEFINE_integer(
    "ray_workers", None, "Workers (default: one a GPU, or all CPUs).", lower_bound=1
)
flags.DEFINE_integer(
    "num_processes",
    None,
    "Processes, on one or several hosts, that are one program over all their devices; "
    "with --process_id and --coordinator.",
    lower_bound=1,
)
flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")
flags.DEFINE_string(
    "coordinator",
    None,
    "HOST:PORT of process 0, which all processes can reach; auto, without the two "
    "others: as SLURM, Open MPI or a TPU says.",
)
flags.DEFINE_bool("keep_weights", False, "Keep the last weights of every network.")
flags.DEFINE_enum(
    "plan",
    None,
    ["timed", "fixed"],
    "How trials are laid over devices. timed: the plan kept for this machine, or the "
    "fastest of a few that are timed first where the run is long enough for that to "
    "pay. fixed: by rule, without timing. A work folder keeps the plan it was begun "
    "with. Default: timed, with --smoke fixed.",
)
flags.DEFINE_float(
    "checkpoint_seconds", 60.0, "Time between checkpoints.", lower_bound=0
)


def read_options() -> runner.Options:
    """Returns the checked flags.

    Raises:
      InputError: A flag's value cannot be used.
    """
    shard = runner.parse_shard(FLAGS.shard)
    given = FLAGS.workdir or f"runs/{Path(FLAGS.experiment).stem}"
    url = given if remote.is_url(given) else None
    if url is not None and shard is not None:
        url = remote.append_name(url, shard.folder)
    workdir = Path(given) / shard.folder if shard else Path(given)
    return runner.Options(
        experiment=FLAGS.experiment,
        workdir=workdir,
        url=url,
        data=tuple(Path(folder) for folder in FLAGS.data or ()),
        overrides=_read_overrides(),
        target_labels=",".join(FLAGS.target_labels or ["all"]),
        slice_axis=FLAGS.slice_axis,
        splits_file=Path(FLAGS.splits_file) if FLAGS.splits_file else None,
        split_seed=FLAGS.split_seed,
        max_size=FLAGS.max_size,
        field_of_view=FLAGS.field_of_view,
        ct_window=runner.parse_window("ct_window", FLAGS.ct_window),
        feature_file=Path(FLAGS.feature_file) if FLAGS.feature_file else None,
        strata_file=FLAGS.strata_file,
        smoke=FLAGS.smoke,
        dry_run=FLAGS.dry_run,
        status=FLAGS.status,
        keep_weights=FLAGS.keep_weights,
        plan=FLAGS.plan or ("fixed" if FLAGS.smoke else "timed"),
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        stop_when_decided=FLAGS.stop_when_decided,
        tensorboard=FLAGS.tensorboard,
        retry_failed=FLAGS.retry_failed,
        shard=shard,
        executor=FLAGS.executor,
        ray_address=FLAGS.ray_address,
        ray_workers=FLAGS.ray_workers,
        num_processes=FLAGS.num_processes,
        process_id=FLAGS.process_id,
        coordinator=FLAGS.coordinator,
        command=_typed(given),
    )


def _typed(workdir: str) -> str:
    """Returns the command for the record, without a password in the work folder."""
    words = ["python", "-m", "slicebench.main", *sys.argv[1:]]
    if remote.is_url(workdir):
        words = [word.replace(workdir, remote.shown_url(workdir)) for word in words]
    return shlex.join(words)


def _read_overrides() -> runner.Overrides:
    return runner.Overrides(
        tasks=_names("tasks"),
        budgets=_numbers("budgets"),
        slices_per_volume=_numbers("slices_per_volume"),
        strategies=_names("strategies"),
        volume_strategies=_names("volume_strategies"),
        features=_names("features"),
        scope=_names("scope"),
        pooled_from=FLAGS.pooled_from,
        interpolations=_names("interpolations"),
        pseudo_weights=runner.parse_fractions("pseudo_weights", FLAGS.pseudo_weights),
        dims=_names("dims"),
        steps=_numbers("steps"),
        steps_factors=runner.parse_fractions("steps_factors", FLAGS.steps_factors, 100),
        batch=FLAGS.batch,
        learning_rate=FLAGS.learning_rate,
        dice_classes=FLAGS.dice_classes,
        width=FLAGS.width,
        depth=FLAGS.depth,
        precision=FLAGS.precision,
        num_seeds=FLAGS.num_seeds,
        ceiling_seeds=FLAGS.ceiling_seeds,
    )


def _names(flag: str) -> tuple[str, ...] | None:
    return runner.parse_names(flag, FLAGS[flag].value)


def _numbers(flag: str) -> tuple[int, ...] | None:
    return runner.parse_numbers(flag, FLAGS[flag].value)


def _train_on_annotations() -> None:
    """Trains on what came back for a plan: --data=PLAN[,SEGMENTATIONS...].

    Raises:
      InputError: No plan is given, or a flag that this experiment has no use for.
    """
    from slicebench.planning.importing import read_labels
    from slicebench.planning.train_command import run_training

    given = {name for name in _flag_values() if FLAGS[name].present}
    others = sorted(given - {*_OF_ANNOTATIONS, "experiment", "data", "workdir"})
    if others:
        raise InputError(
            f"--{others[0]} with --experiment={_ANNOTATIONS}: not used there; allowed: "
            f"{', '.join(f'--{name}' for name in _OF_ANNOTATIONS)}, --data, --workdir"
        )
    if not FLAGS.data:
        raise InputError(
            f"--data: not given; --experiment={_ANNOTATIONS} takes the folder of a "
            "plan, and folders of segmentations where they are not in it"
        )
    plan, *labels = (Path(folder) for folder in FLAGS.data)
    values: dict[str, Any] = {name: FLAGS[name].value for name in _OF_ANNOTATIONS}
    for name in ("dims", "steps"):
        if len(values[name] or ()) > 1:
            raise InputError(f"--{name}={','.join(values[name])}: one is allowed here")
    dims, steps = _names("dims") or ("2d",), _numbers("steps") or (None,)
    if dims[0] not in ("2d", "3d"):
        raise InputError(f"--dims={dims[0]}: 2d or 3d is allowed")
    values |= {"dims": dims[0], "steps": steps[0], "module": "slicebench.main"}
    seeds = 3 if FLAGS.num_seeds is None else FLAGS.num_seeds
    out = Path(FLAGS.workdir or f"runs/{_ANNOTATIONS}")
    if remote.is_url(FLAGS.workdir or ""):
        raise InputError(
            f"--workdir={remote.shown_url(FLAGS.workdir)} with "
            f"--experiment={_ANNOTATIONS}: a folder of this machine is allowed"
        )
    for line in run_training(
        read_labels(plan, labels), out, {**values, "seeds": seeds}
    ):
        _say(line)


def run(options: runner.Options) -> None:
    """Does what the command line asks for and prints the outcome."""
    runner.prepare_executor(options)
    with runner.work_folder(options) as here:
        with runner.joined(here) as team:
            study = runner.make_study(here)
            if options.dry_run:
                _say(runner.preview(study, here))
                return
            if options.status:
                _say(runner.status_text(study, here))
                return
            runner.make_session(study, here, team).run()
        if team is not None and not team.leads:
            return
        _report(here)
    _say(f"report: {options.place}/report.html")


def _report(options: runner.Options) -> None:
    from slicebench.report import verdict_lines, write_report
    from slicebench.results import read_json

    write_report(options.workdir)
    _say("")
    summary, experiment = (
        read_json(options.workdir / f"{name}.json")
        for name in ("summary", "experiment")
    )
    for line in verdict_lines(summary, experiment):
        _say(line)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def parse_flags(arguments: list[str]) -> list[str]:
    """Returns what is left of the command line; a bad flag ends with status 2."""
    try:
        return FLAGS(arguments)
    except flags.Error as error:
        message = " ".join(str(error).split())
        if isinstance(error, flags.UnrecognizedFlagError):
            message = f"{message}; allowed: {', '.join(_flag_names())}"
        sys.stderr.write(f"slicebench: {message}\n")
        sys.exit(2)


def _flag_names() -> list[str]:
    return sorted(f"--{name}" for name in _flag_values())


def _flag_values() -> list[str]:
    """Returns the names of this command's own flags."""
    module = str(FLAGS.find_module_defining_flag("experiment"))
    return [flag.name for flag in FLAGS.flags_by_module_dict()[module]]


def main(arguments: list[str]) -> None:
    """Runs the command; bad input ends with exit status 2 and one line.

    So does a network that is too large for the machine, a disk that takes no more, or
    a store that cannot be written, with status 1. SIGINT and SIGTERM end it with 130
    and 143, after a checkpoint; the same command goes on.
    """
    runner.show_logs()
    try:
        if len(arguments) > 1:
            raise InputError(
                f"unknown argument {arguments[1]!r}: flags are written --name=value"
            )
        if FLAGS.experiment == _ANNOTATIONS:
            _train_on_annotations()
            return
        runner.use_all_cores()
        run(read_options())
    except (InputError, remote.RemoteError, *_LIMITS) as error:
        sys.stderr.write(f"slicebench: {error}\n")
        sys.exit(2 if isinstance(error, InputError) else 1)
    except runner.EndedElsewhereError as error:
        sys.stderr.write(f"slicebench: {error}\n")
        if error.lost:
            # No handler of JAX may wait for the process that is lost.
            sys.stderr.flush()
            os._exit(error.status)
        sys.exit(error.status)
    except (runner.Stopped, KeyboardInterrupt) as stop:
        number = stop.number if isinstance(stop, runner.Stopped) else signal.SIGINT
        sys.stderr.write(
            f"slicebench: stopped by {signal.Signals(number).name}; finished trials "
            "and checkpoints are kept, the same command goes on\n"
        )
        sys.exit(128 + number)
    except Exception as error:
        trouble = runner.disk_trouble(error)
        if trouble is None:
            raise
        sys.stderr.write(
            f"slicebench: a file cannot be written ({trouble}); finished trials are "
            "kept: make room, the same command goes on\n"
        )
        sys.exit(1)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
