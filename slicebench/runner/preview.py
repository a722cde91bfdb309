"""What a run would do, in words: for --dry_run."""

from collections import Counter
from typing import Any

from slicebench import spec
from slicebench.runner.cells import CEILING
from slicebench.runner.contrasts import ABSENT
from slicebench.runner.looks import in_sequence, units, up_to
from slicebench.runner.options import Options
from slicebench.runner.planner import Planner
from slicebench.runner.plans import (
    choose_plan,
    estimate_seconds,
    in_words,
    plan_bytes,
)
from slicebench.runner.shards import shared_trials
from slicebench.runner.study import Study
from slicebench.statistics import (
    FIXED_MARGINS,
    Components,
    power,
    power_by_look,
    seeds_needed,
)

ASSUMED = Components(sd_seed=0.013, sd_case=0.006, sd_residual=0.03)
ASSUMED_SOURCE = "hippocampus, 48 slices, docs/results"
GOOD_POWER = 0.8


def preview(study: Study, options: Options) -> str:
    """Returns trials, splits, programs, estimated memory and time."""
    lines = [
        f"{study.experiment.name}: {study.experiment.question}",
        f"work folder: {options.place}",
        f"{len(study.trials)} trials in {len({t.cell() for t in study.trials})} cells, "
        f"{'at most ' if study.looks else ''}{_seeds(study.experiment)}",
        *_looks(study),
        *_share(study, options),
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
    planner = Planner(options.plan, options.workdir)
    for program in study.programs.values():
        seconds, text = _program(study, program, planner)
        total += seconds
        lines.append(text)
    lines.append(f"estimated time: {total / 60:.0f} min (compilation and report apart)")
    lines += [f"left out: {_plain(i.cell)}: {i.reason}" for i in study.left_out]
    lines += _contrasts(study)
    lines += _dropped(study)
    return "\n".join(lines)


def _seeds(experiment: spec.Experiment) -> str:
    if experiment.training_seeds is None:
        return f"{experiment.num_seeds} seeds a cell"
    return (
        f"{experiment.num_seeds} selection seeds x {experiment.training_seeds} "
        "training seeds a cell"
    )


def _share(study: Study, options: Options) -> list[str]:
    mine = shared_trials(study, options)
    return [f"share {options.shard}: {len(mine)} trials"] if options.shard else []


def _looks(study: Study) -> list[str]:
    """When each task and dims is looked at, and how many trials that takes."""
    lines: list[str] = []
    for unit in units(study) if study.looks else ():
        planned = study.looks[unit.task]
        if not any(c["primary"] for c in study.contrasts if unit.holds_contrast(c)):
            lines.append(
                f"looks: {unit}: no primary contrast to decide, {planned[0]} seeds"
            )
            continue
        trials = tuple(len(up_to(study, {unit: seeds})) for seeds in planned)
        lines.append(
            f"looks: {unit}: after {in_sequence(planned)} seeds, at "
            f"{in_sequence(trials)} trials; the last ones only where a primary "
            "contrast is neither decided nor limited by cases before"
        )
    return lines


def _contrasts(study: Study) -> list[str]:
    """Every contrast; primary ones with their power to show the fixed margin."""
    margin = FIXED_MARGINS["dice"]
    sizes = Counter(c["family"] for c in study.contrasts if c["primary"])
    lines = [
        f"power: to resolve {margin} Dice at the assumed spread of a paired "
        f"difference (SD over seeds {ASSUMED.sd_seed}, cases {ASSUMED.sd_case}, "
        f"residual {ASSUMED.sd_residual}; {ASSUMED_SOURCE})"
    ]
    for contrast in study.contrasts:
        line = f"contrast: {contrast['name']} [{contrast['family']}]"
        if contrast["primary"] and contrast["metric"] == "dice":
            line += f": {_power(study, contrast, margin, sizes[contrast['family']])}"
        lines.append(line)
    return lines


def _power(
    study: Study, contrast: dict[str, Any], margin: float, family_size: int
) -> str:
    name = contrast["task"]
    folds = [task for (task_name, _), task in study.tasks.items() if task_name == name]
    cases = sum(len(task.test) for task in folds)
    seeds = len({t.selection_seed for t in study.trials if t.task == name})
    given: Any = {
        "margin": margin,
        "components": ASSUMED,
        "num_cases": cases,
        "num_contrasts": family_size,
        "num_folds": len(folds),
        "difference": margin if contrast["claim"] == "superior" else 0.0,
    }
    if min(seeds, cases) < 2 * len(folds):
        return f"no power with {seeds} seeds and {cases} cases"
    if study.looks:
        return _power_by_look(contrast["claim"], study.looks[name], given)
    reached = power(contrast["claim"], num_seeds=seeds, **given)
    text = f"{contrast['claim']}, power {reached:.2f}"
    if reached >= GOOD_POWER:
        return text
    needed = seeds_needed(contrast["claim"], target=GOOD_POWER, **given)
    remedy = f"{needed} seeds" if needed else "more test cases"
    return f"{text}: WARNING, below {GOOD_POWER}; {remedy} would reach it"


def _power_by_look(
    claim: spec.Claim, seeds: tuple[int, ...], given: dict[str, Any]
) -> str:
    reached = power_by_look(claim, seeds=seeds, **given)
    steps = ", ".join(
        f"{chance:.2f} by {count}" for chance, count in zip(reached, seeds, strict=True)
    )
    text = f"{claim}, power {steps} seeds"
    low = reached[-1] < GOOD_POWER
    return f"{text}: WARNING, below {GOOD_POWER} at the last look" if low else text


_SHAPE = ("task", "dims", "strategy", "budget", "num_volumes", "slices_per_volume")
_ARM = (
    "volume_strategy",
    "features",
    "scope",
    "interpolation",
    "pseudo_weight",
    "steps",
)


def _cells(study: Study) -> list[str]:
    """Every cell with its seeds; of the other factors those that vary."""
    counts = Counter((_values(t, _SHAPE), _values(t, _ARM)) for t in study.trials)
    arms = [arm for (_, _, strategy, *_), arm in counts if strategy != CEILING]
    vary = [i for i in range(len(_ARM)) if len({arm[i] for arm in arms}) > 1]
    pools = {name: len(task.pool) for (name, _), task in study.tasks.items()}
    lines = []
    for (cell, factors), seeds in counts.items():
        task, dims, strategy, budget, volumes, density = cell
        ceiling = strategy == CEILING
        shape = f"{volumes} x {'all' if ceiling else density or 'pooled'}"
        crowded = not ceiling and volumes > pools[task] / 2
        flag = "  (more than half of the pool: seeds overlap)" if crowded else ""
        arm = "" if ceiling else _arm(factors, vary)
        lines.append(
            f"  {task} {dims} {strategy:<15} {budget:>5} slices = {shape:<9} "
            f"{seeds} seeds{arm}{flag}"
        )
    return lines


def _values(trial: spec.Trial, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(
        trial.training.steps if name == "steps" else getattr(trial, name)
        for name in names
    )


def _arm(values: tuple[Any, ...], vary: list[int]) -> str:
    named = [f"{_ARM[i].replace('_', ' ')} {values[i]}" for i in vary]
    return f"  {', '.join(named)}" if named else ""


def _dropped(study: Study) -> list[str]:
    """Contrasts without a comparison; those of cells not asked for in one line."""
    absent = [item for item in study.dropped if item["reason"].startswith(ABSENT)]
    lines = [
        f"dropped: {item['name']}: {item['reason']}"
        for item in study.dropped
        if item not in absent
    ]
    if absent:
        first = absent[0]
        lines.append(
            f"dropped: {len(absent)} contrasts of cells that this run does not have, "
            f"such as {first['name']}: {first['reason']} (experiment.json and the "
            "report name each)"
        )
    return lines


def _program(
    study: Study, program: spec.Program, planner: Planner
) -> tuple[float, str]:
    trials = [t for t in study.trials if t.program == program.name]
    task = study.task_of(trials[0])
    scored = sum(case.depth for case in (*task.development, *task.test))
    seconds = estimate_seconds(program, len(trials), scored)
    choice = planner.known(program)
    plan = choice.plan if choice else choose_plan(program)
    if choice:
        how = f"{choice.how} plan"
    elif planner.too_short(program, len(trials)):
        how = "fixed plan, the run is too short for timing others"
    else:
        how = "first plan of a few that will be timed"
    return seconds, (
        f"program {program.name}: {program.dims}, width {program.network.width}, depth "
        f"{program.network.depth}, grid {program.grid[0]}x{program.grid[1]}, "
        f"{program.training.steps} steps of {program.training.batch}: {len(trials)} "
        f"trials, {plan.trials} at a time on {in_words(plan)} ({how}), about "
        f"{plan_bytes(program, plan) / 1e9:.2f} GB"
    )


def _plain(cell: dict) -> str:
    shown = ("task", "dims", "strategy", "budget", "slices_per_volume")
    return ", ".join(f"{name} {cell[name]}" for name in shown)
