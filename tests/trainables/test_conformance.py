"""The suite that every learner inherits finds what it is there to find."""

from __future__ import annotations

import doctest

import pytest

from trainables import contract, learner
from trainables.methods.ewc import EWC
from trainables.methods.fssg import FSSG
from trainables.methods.icarl import ICaRL
from trainables.methods.replay import Replay
from trainables.methods.si import SI
from trainables.methods.sleep.sleep_replay import SleepReplay
from trainables.testing import DIGITS, SEEDS, LearnerConformance, build, go_on, learn, make_stream

QUICK = {"hidden": [16], "epochs": 1, "batch_size": 16}
ASLEEP = {"sleep_steps": 20, "beta_first": 1.0, "beta_last": 1.0, "sleep_data": "mean"}


@pytest.mark.parametrize(
    ("kind", "forgotten", "options"),
    [
        (EWC, "precision", {"lam": 100.0}),
        (EWC, "centre", {"lam": 100.0}),
        (SI, "anchor", {}),
        (ICaRL, "teacher", {}),
        (Replay, "memory", {}),
        (FSSG, "slow", {"slow_hidden": [8]}),
        (FSSG, "slow_optimiser", {"slow_hidden": [8]}),
        (FSSG, "noise", {"slow_hidden": [8]}),
        (SleepReplay, "asleep", ASLEEP),
        (SleepReplay, "noise", ASLEEP),
    ],
)
def test_what_a_method_forgets_to_keep_is_found(kind, forgotten, options, tmp_path):
    class Forgetful(kind):
        def prepare(self):
            super().prepare()
            del self.kept[forgotten]

    class Suite(LearnerConformance):
        learner = Forgetful

    Suite.options = QUICK | options
    for learnt, snapshot in enumerate(Suite.run("class").snapshots, start=1):
        (tmp_path / f"class-{learnt}.pt").write_bytes(snapshot.state)
    go_on(tmp_path, Forgetful, Suite.options, ["class"], SEEDS, "cpu", DIGITS)
    with pytest.raises(AssertionError):
        Suite().test_resume_in_a_new_process_equals_uninterrupted("class", 2, tmp_path)


def test_the_example_of_the_contract_is_a_learner():
    """It keeps a copy of its weights: as many auxiliary bytes as parameters."""
    names = dict(vars(learner))
    exec(doctest.script_from_examples(learner.Learner.__doc__), names)
    kind, stream = names["Anchored"], make_stream("class")
    assert not contract.misdeclared(kind)
    found = build(kind, QUICK, stream)
    learn(found, stream, 0, 2)
    contract.check_state(found, found.state())
    assert found.footprint()["auxiliary"] == found.footprint()["parameters"] > 0
