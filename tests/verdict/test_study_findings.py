"""What a whole study says: rates, ladder, sweep, fresh feedback, early epochs. Hand-made methods
whose answer is known."""

import pytest
from hand_made import DEFAULTS, layers, method, run

from faeval.verdict.fresh import fresh_feedback
from faeval.verdict.headroom import depth_headroom
from faeval.verdict.ladder import depth_ladder
from faeval.verdict.onset import early_epochs, onsets
from faeval.verdict.rates import RateCurve, best_rate, learning_rate_dependence
from faeval.verdict.sweep import penalty_sweep

SEEDS = (1, 2, 3)
JITTER = {1: -0.001, 2: 0.0, 3: 0.001}


def by_seed(mean: float, seeds=SEEDS) -> dict[int, float]:
    return {seed: mean + JITTER[seed] for seed in seeds}


def runs(accuracy: float, control: float = 0.5, seeds=SEEDS, **changes):
    return [run(s, accuracy + JITTER[s], control, **changes) for s in seeds]


# --- headroom -------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [0.5, 0.519, 0.4])
def test_where_true_gradients_gain_nothing_from_depth_the_study_says_so(accuracy):
    bp = method(*runs(accuracy), rule="bp", credit_is_gradient=True)
    (finding,) = depth_headroom([method(), bp], DEFAULTS)
    assert (finding.method, finding.status, finding.severity) == ("bp", "flag", "note")
    assert finding.value == pytest.approx(accuracy - 0.5)
    assert f"gain {100 * (accuracy - 0.5):+.1f} pp (95% over 3 seeds" in finding.evidence
    assert "no mark against it" in finding.consequence


def test_headroom_is_silent_where_there_is_some_or_nobody_asked():
    def bp(*of_bp, **options):
        return method(*of_bp, rule="bp", credit_is_gradient=True, **options)

    silent = [
        bp(*runs(0.52)),
        bp(*runs(0.5), penalty=0.1),
        bp(*runs(0.5), labels="random"),
        bp(run(1, 0.5, None)),
        method(*runs(0.5)),
    ]
    assert depth_headroom(silent, DEFAULTS) == []


# --- learning rates --------------------------------------------------------------------


def test_the_best_rate_is_that_of_the_best_mean_over_all_seeds():
    rates = (0.1, 0.2, 0.4)
    assert best_rate(rates, [by_seed(0.3), by_seed(0.5), by_seed(0.4)], SEEDS) == 0.2
    # One that lost a seed is no choice, however good the others are.
    assert best_rate(rates, [by_seed(0.3), by_seed(0.9, (1, 2)), by_seed(0.4)], SEEDS) == 0.4
    assert best_rate(rates, [by_seed(0.4)] * 3, SEEDS) == 0.1  # the smallest of equals
    assert best_rate(rates, [{}, {}, {}], SEEDS) is None


def curve(own, controls, best=0.1, best_control=0.1) -> RateCurve:
    return RateCurve(
        "dfa", 0.0, (0.1, 0.2), tuple(map(by_seed, own)), tuple(map(by_seed, controls)),
        best, best_control,
    )  # fmt: skip


def constant(accuracy: float, control: float):
    """Both sides move together: the paired difference is the same in every seed."""
    return method(*[run(s, accuracy + JITTER[s], control + JITTER[s]) for s in SEEDS])


@pytest.mark.parametrize(
    ("own", "controls", "final", "status", "words"),
    [
        ((0.6, 0.4), (0.5, 0.5), (0.6, 0.5), "flag", ["depends on", "above its frozen blocks"]),
        ((0.4, 0.6), (0.5, 0.5), (0.4, 0.5), "flag", ["depends on", "below its frozen blocks"]),
        ((0.6, 0.7), (0.5, 0.5), (0.7, 0.5), "pass", ["No learning rate", "above"]),
        ((0.4, 0.3), (0.5, 0.5), (0.4, 0.5), "pass", ["No learning rate", "below"]),
        # Above at one rate for both; below once frozen blocks have their own.
        ((0.6, 0.6), (0.5, 0.5), (0.6, 0.65), "flag", ["At one rate", "tuning below"]),
    ],
)
def test_a_conclusion_that_hangs_on_the_learning_rate_is_flagged(
    own, controls, final, status, words
):
    finding = learning_rate_dependence(curve(own, controls), constant(*final), DEFAULTS)
    assert (finding.check, finding.status, finding.method) == ("learning rate", status, "dfa")
    for word in words:
        assert word in finding.consequence
    assert "the smallest tried" in finding.evidence


def test_gains_at_a_rate_are_paired_by_seed():
    ((rate, gain), (_, other)) = curve((0.6, 0.4), (0.5, 0.5)).gains(0.95)
    assert (rate, gain.n) == (0.1, 3)
    assert gain.estimate == pytest.approx(0.1)
    assert gain.low == gain.high == pytest.approx(0.1)
    assert other.estimate == pytest.approx(-0.1)


def test_without_a_rate_for_all_seeds_nothing_is_said():
    nothing = curve((0.6, 0.4), (0.5, 0.5), best=None)
    assert learning_rate_dependence(nothing, None, DEFAULTS).status == "unmeasured"


def test_one_seed_needs_a_difference_of_some_size():
    def of_one(gain: float) -> str:
        one = RateCurve("dfa", 0.0, (0.1, 0.2), ({1: 0.5 + gain}, {1: 0.5 - gain}),
                        ({1: 0.5}, {1: 0.5}), 0.1, 0.1)  # fmt: skip
        return learning_rate_dependence(one, method(run(1, 0.5, 0.5)), DEFAULTS).status

    assert (of_one(0.01), of_one(0.03)) == ("pass", "flag")


# --- ladder ----------------------------------------------------------------------------


def rungs(*accuracies: float, seeds=SEEDS):
    return [(k, method(*runs(a, seeds=seeds))) for k, a in enumerate(accuracies)]


@pytest.mark.parametrize(
    ("accuracies", "status", "words"),
    [
        ((0.5, 0.6, 0.7), "pass", ["best at k=2"]),
        ((0.5, 0.7, 0.6), "flag", ["best at k=1", "costs accuracy", "-10.0 pp"]),
        ((0.7, 0.6, 0.5), "flag", ["best at k=0", "costs accuracy"]),
        ((0.5, 0.4, 0.5), "flag", ["best at k=0", "does not clearly help"]),
    ],
)
def test_a_ladder_passes_where_every_rung_is_worth_it(accuracies, status, words):
    finding = depth_ladder("dfa", rungs(*accuracies), DEFAULTS)
    assert finding.status == status
    for word in words:
        assert word in finding.sentence
    assert finding.value == pytest.approx(accuracies[-1] - accuracies[0])


def test_a_ladder_needs_two_rungs_and_a_common_seed():
    assert depth_ladder("dfa", rungs(0.5), DEFAULTS).status == "unmeasured"
    apart = [(0, method(*runs(0.5, seeds=(1,)))), (2, method(*runs(0.6, seeds=(2,))))]
    assert depth_ladder("dfa", apart, DEFAULTS).status == "unmeasured"


# --- sweep -----------------------------------------------------------------------------


def test_a_repaired_cosine_without_learning_is_flagged():
    plain = method(*runs(0.5, at=2, cosine_mean=0.0))
    penalised = method(*runs(0.5), penalty=0.1)
    finding = penalty_sweep("dfa", [penalised, plain], DEFAULTS)
    assert finding.status == "flag"
    assert "With λ=0.1" in finding.consequence
    assert finding.evidence.index("λ=0:") < finding.evidence.index("λ=0.1:")
    assert "not above chance everywhere" in finding.evidence


def test_a_penalty_that_makes_depth_useful_passes():
    plain = method(*runs(0.5, at=2, cosine_mean=0.0))
    finding = penalty_sweep("dfa", [plain, method(*runs(0.7), penalty=0.1)], DEFAULTS)
    assert finding.status == "pass"
    assert "Best accuracy at λ=0.1; depth is of use at λ=0.1." in finding.consequence


def test_one_penalty_is_no_sweep():
    assert penalty_sweep("dfa", [method(*runs(0.5))], DEFAULTS).status == "unmeasured"


# --- fresh feedback --------------------------------------------------------------------


def test_fresh_feedback_that_reads_as_chance_speaks_for_the_alignment():
    trained = method(*[run(s, cosine_mean=0.5 + JITTER[s]) for s in SEEDS])
    fresh = method(*[run(s, cosine_mean=0.0) for s in SEEDS])
    finding = fresh_feedback("dfa", trained, fresh, DEFAULTS)
    assert finding.status == "pass"
    assert "h1 +0.50 against +0.00 (95% over 3 seeds +0.50 to +0.50)" in finding.evidence
    assert "h0" not in finding.evidence


def test_fresh_feedback_that_aligns_as_well_refutes_it():
    same = method(*[run(s, cosine_mean=0.5) for s in SEEDS])
    finding = fresh_feedback("dfa", same, same, DEFAULTS)
    assert (finding.status, finding.severity) == ("flag", "refuse")


def test_states_where_training_feedback_is_no_better_are_named():
    trained = method(*[run(s, at=2, cosine_mean=0.0) for s in SEEDS])
    fresh = method(*[run(s, cosine_mean=0.0) for s in SEEDS])
    finding = fresh_feedback("dfa", trained, fresh, DEFAULTS)
    assert (finding.status, finding.severity) == ("flag", "caution")
    assert finding.consequence.startswith("At h2 ")


# --- time course -----------------------------------------------------------------------


def course(*changes: dict) -> list:
    """Epochs 0, 1, 2, … with these changes at the last state."""
    return [(epoch, layers(at=3, **change)) for epoch, change in enumerate(changes)]


LOST, FLOOR, FINE = {"cosine_mean": 0.0}, {"reference_norm_mean_loss": 1e-9}, {}


def first(found, check, seed=1):
    (onset,) = [o for o in found if (o.check, o.seed) == (check, seed)]
    return onset.epoch


def test_each_flag_has_the_epoch_at_which_it_first_fires():
    grown = {"state_norm": 1e4}
    found = onsets(
        method(),
        {1: course(LOST, FINE, LOST, FINE, LOST | grown), 2: course(FINE, FINE)},
        DEFAULTS,
    )
    assert first(found, "deep credit") == 2  # the untrained network is no onset
    assert first(found, "scale stability") == 4
    assert first(found, "published floor") is None
    assert {o.epoch for o in found if o.seed == 2} == {None}
    assert {o.seed: o.last for o in found} == {1: 4, 2: 1}
    assert {o.check for o in found if o.still} == {"deep credit", "scale stability"}


@pytest.mark.parametrize(
    ("epochs", "status", "words"),
    [
        ([FINE, LOST, LOST | FLOOR], "flag", "absent, not hidden"),
        ([FINE, FINE, LOST | FLOOR], "flag", "only where the reference is flagged too"),
        ([LOST, FINE, FINE], "pass", "beats chance in every epoch"),
        ([LOST, LOST, FINE], "pass", "it comes with training"),
        ([FINE, LOST | FLOOR, FINE], "pass", "it comes with training"),
    ],
)
def test_a_credit_lost_before_the_reference_is_absent(epochs, status, words):
    finding = early_epochs(method(), {1: course(*epochs)}, DEFAULTS)
    assert finding.status == status
    assert words in finding.consequence


def test_a_course_of_the_untrained_network_alone_says_nothing():
    assert early_epochs(method(), {1: course(FINE)}, DEFAULTS).status == "unmeasured"
    assert early_epochs(method(), {}, DEFAULTS).status == "unmeasured"
