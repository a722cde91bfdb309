"""Looks taken again from finished trials, and what a summary takes from them."""

import json

import numpy as np
import pandas as pd

from slicebench.statistics import _replay, evaluate, families
from tests.statistics.tables import K_CENTER, RANDOM, contrast, tables
from tests.statistics.test_sequential import SEEDS, draw

CONTRASTS = [
    contrast(name="clear"),
    contrast(name="open", metric="nsd"),
    contrast(name="absent", where={"budget": 9}),
    contrast(name="side", primary=False),
]


def two_metrics(rng, seeds):
    """k_center far better in Dice, hardly in NSD; equal cells are left as they are."""
    parts = []
    for metric, gain in (("dice", 0.2), ("nsd", 0.003)):
        random = draw(rng, 0.5, seeds)
        better = draw(rng, 0.5 + gain, seeds)
        parts.append(tables((K_CENTER, better), (RANDOM, random), metric=metric))
    results = pd.concat([results for results, _ in parts], ignore_index=True)
    return results, parts[0][1]


def replay(results, trials, taken, seeds=SEEDS):
    return _replay.replay_looks(CONTRASTS, results, trials, seeds=seeds, taken=taken)


def test_looks_are_taken_again_at_the_same_trials():
    results, trials = two_metrics(np.random.default_rng(7), 20)
    looks = replay(results, trials, 2)
    early = trials["selection_seed"] < 8
    ids = trials.loc[early, "trial_id"]
    first = replay(results[results["trial_id"].isin(ids)], trials[early], 1)
    assert looks[:1] == first
    assert [len(look) for look in looks] == [3, 3]
    assert [look[0]["seeds"] for look in looks] == [8, 16]
    json.dumps(looks, allow_nan=False)


def test_entries_say_what_was_seen_and_what_follows():
    results, trials = two_metrics(np.random.default_rng(7), 20)
    clear, still_open, absent = replay(results, trials, 1)[0]
    assert (clear["verdict"], clear["state"]) == ("superior", "decided")
    assert clear["claim_holds"]
    assert clear["low"] < clear["estimate"] < clear["high"]
    assert 0 < clear["information_fraction"] < 1
    assert clear["level_one_sided"] < 0.025
    assert still_open["state"] in ("going on", "case-limited")
    assert absent["state"] == "case-limited"
    assert absent["reason"] == "no finished trials on side a"
    assert _replay.overall_state([clear["state"], absent["state"]]) == "case-limited"


def test_a_summary_takes_its_verdicts_from_the_looks(tmp_path):
    results, trials = two_metrics(np.random.default_rng(7), 20)
    entries = evaluate(CONTRASTS, results, trials, margins={}, resamples=1)
    summary = {"contrasts": entries, "families": families(entries)}
    assert _replay.apply_looks(summary, tmp_path) is summary
    looks = {"looks": [{"contrasts": look} for look in replay(results, trials, 2)]}
    (tmp_path / "looks.json").write_text(json.dumps(looks))
    found = _replay.apply_looks(summary, tmp_path)
    assert found["looks"] == looks
    newest = looks["looks"][1]["contrasts"]
    pairs = zip(entries[:3], found["contrasts"], newest, strict=False)
    for old, new, look in pairs:
        assert new["verdict"] == look["verdict"]
        assert new["verdict_of_one_look"] == old["verdict"]
    assert found["contrasts"][3] == entries[3]
    assert [family["all_hold"] for family in found["families"]] == [False]
