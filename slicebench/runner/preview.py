"""What a run would do, in words: for --dry_run."""

from collections import Counter

from slicebench import spec
from slicebench.runner.cells import CEILING
from slicebench.runner.options import Options
from slicebench.runner.plans import (
    bank_bytes,
    choose_plan,
    estimate_seconds,
    trial_bytes,
)
from slicebench.runner.study import Study


def preview(study: Study, options: Options) -> str:
    """Returns trials, splits, programs, estimated memory and time."""
    lines = [
        f"{study.experiment.name}: {study.experiment.question}",
        f"work folder: {options.workdir}",
        f"{len(study.trials)} trials in {len({t.cell() for t in study.trials})} cells, "
        f"{study.experiment.num_seeds} seeds a cell",
        "",
    ]
    for (name, fold), task in study.tasks.items():
        sizes = ", ".join(
            f"{len(side)} {label}"
            for label, side in zip(
                ("development", "pool", "test"), task.sides, strict=True
            )
        )
        kind = "phantom" if task.synthetic else "real"
        lines.append(f"task {name} ({kind}), fold {fold}: {sizes} cases")
    lines += ["", *_cells(study), ""]
    total = 0.0
    for program in study.programs.values():
        seconds, text = _program(study, program)
        total += seconds
        lines.append(text)
    lines.append(f"estimated time: {total / 60:.0f} min (compilation and report apart)")
    lines += [f"left out: {_plain(i.cell)}: {i.reason}" for i in study.left_out]
    lines += [
        f"contrast: {item['name']} [{item['family']}]" for item in study.contrasts
    ]
    lines += [f"dropped: {item['name']}: {item['reason']}" for item in study.dropped]
    return "\n".join(lines)


def _cells(study: Study) -> list[str]:
    counts = Counter(
        (t.task, t.dims, t.strategy, t.budget, t.num_volumes, t.slices_per_volume)
        for t in study.trials
    )
    pools = {name: len(task.pool) for (name, _), task in study.tasks.items()}
    lines = []
    for (task, dims, strategy, budget, volumes, density), seeds in counts.items():
        ceiling = strategy == CEILING
        shape = f"{volumes} x {'all' if ceiling else density or 'pooled'}"
        crowded = not ceiling and volumes > pools[task] / 2
        flag = "  (more than half of the pool: seeds overlap)" if crowded else ""
        lines.append(
            f"  {task} {dims} {strategy:<15} {budget:>5} slices = {shape:<9} "
            f"{seeds} seeds{flag}"
        )
    return lines


def _program(study: Study, program: spec.Program) -> tuple[float, str]:
    plan = choose_plan(program)
    trials = [t for t in study.trials if t.program == program.name]
    task = study.task_of(trials[0])
    scored = sum(case.depth for case in (*task.development, *task.test))
    seconds = estimate_seconds(program, len(trials), scored)
    memory = plan.trials * trial_bytes(program) + plan.devices * bank_bytes(program)
    return seconds, (
        f"program {program.name}: {program.dims}, width {program.network.width}, depth "
        f"{program.network.depth}, grid {program.grid[0]}x{program.grid[1]}, "
        f"{program.training.steps} steps of {program.training.batch}: {len(trials)} "
        f"trials, {plan.trials} at a time on {plan.devices} devices, about "
        f"{memory / 1e9:.2f} GB"
    )


def _plain(cell: dict) -> str:
    shown = ("task", "dims", "strategy", "budget", "slices_per_volume")
    return ", ".join(f"{name} {cell[name]}" for name in shown)
