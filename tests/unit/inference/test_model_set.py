"""Several models in one pass: each as LightGBM has it, outputs where their names say, one identity for all."""

import math
from pathlib import Path

import numpy as np
import pytest
from boosters import CATEGORICAL, FEATURES, booster, edge_rows, label_of, training_rows
from test_model import Schema, metadata, text_with_names

from hft_engine.config.outputs import output_names
from hft_engine.config.schema import EnsembleConfig, InferenceConfig
from hft_engine.inference.errors import ModelError
from hft_engine.inference.model import load_model, write_model
from hft_engine.inference.model_set import ModelSet, load_set, make_set
from hft_engine.inference.strange import strangeness
from hft_engine.inference.trees import predict
from hft_engine.models.ensemble import Ensemble
from hft_engine.records import FEATURES_MAX, OUTPUTS_MAX

SEED = 11
REGIMES = ("ranging", "trend_up", "trend_down", "volatile")


def _write(path: Path, model: object, **about: object) -> Path:
    write_model(path, text_with_names(model), metadata(**about))
    return path


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, object]]:
    """Three kinds of model: missing values, sets of categories, four classes; by name, with their boosters."""
    folder = tmp_path_factory.mktemp("models")
    plain, missing = training_rows(SEED), training_rows(SEED, missing=True)
    mixed = training_rows(SEED, categorical=True, missing=True)
    up = (label_of(missing, SEED) > 0).astype(float)
    classes = np.digitize(label_of(plain, SEED), [-1.0, 0.0, 1.0]).astype(float)
    kinds = {
        "entry_timing": booster(missing, up, objective="binary"),
        "peak_detection": booster(
            mixed, label_of(mixed, SEED) > 0, trees=13, objective="binary", categorical_feature=CATEGORICAL
        ),
        "market_regime": booster(plain, classes, trees=7, objective="multiclass", num_class=4),
    }
    about = {"market_regime": {"classes": REGIMES}}
    return {
        name: (_write(folder / f"{name}.txt", model, name=name, **about.get(name, {})), model)
        for name, model in kinds.items()
    }


def _loaded(members: dict[str, tuple[Path, object]], *names: str, **options: object) -> ModelSet:
    return make_set([load_model(members[name][0], Schema()) for name in names], **options)


def _vectors(rows: np.ndarray) -> np.ndarray:
    vectors = np.full((len(rows), FEATURES_MAX), np.nan)
    vectors[:, [Schema().index(f"f{i}") for i in range(FEATURES)]] = rows
    return vectors


@pytest.mark.parametrize(
    "names",
    [
        ("entry_timing", "peak_detection", "market_regime"),
        ("market_regime", "peak_detection"),
        ("peak_detection", "market_regime", "entry_timing"),
    ],
)
def test_every_member_of_a_set_is_equal_to_lightgbm(members, names: tuple[str, ...]) -> None:
    models = _loaded(members, *names)
    rows = np.concatenate([edge_rows(members[name][1], SEED) for name in names])
    out = predict(models.tables, _vectors(rows))
    for name, member in zip(names, models.members, strict=True):
        expected = members[name][1].predict(rows, num_threads=1).reshape(len(rows), -1)
        first = member.first_output
        np.testing.assert_array_equal(out[:, first : first + expected.shape[1]], expected, err_msg=name)


def test_outputs_are_called_after_model_and_class_whoever_reads_them(members) -> None:
    models = _loaded(members, "peak_detection", "market_regime", "entry_timing")
    expected = ("peak_detection", *(f"market_regime.{name}" for name in REGIMES), "entry_timing")
    assert models.names == expected
    paths = tuple(str(members[name][0]) for name in ("peak_detection", "market_regime", "entry_timing"))
    assert output_names(InferenceConfig(models=paths)) == expected


def test_classes_without_names_are_numbered(members, tmp_path: Path) -> None:
    path = _write(tmp_path / "m.txt", members["market_regime"][1], name="regime")
    assert make_set([load_model(path, Schema())]).names == ("regime.0", "regime.1", "regime.2", "regime.3")
    assert output_names(InferenceConfig(model=str(path))) == ("regime.0", "regime.1", "regime.2", "regime.3")


def test_columns_that_members_share_are_computed_once(members) -> None:
    alone = _loaded(members, "entry_timing").tables
    twice = _loaded(members, "entry_timing", "peak_detection", "market_regime").tables
    parts = [_loaded(members, name).tables for name in members]
    assert len(twice.columns) == len({tuple(row) for part in parts for row in part.columns.tolist()})
    assert len(alone.columns) < len(twice.columns) < sum(len(part.columns) for part in parts)


def test_one_model_has_its_own_id_and_a_set_one_of_all_that_it_is(members) -> None:
    one = _loaded(members, "entry_timing")
    assert one.model_id == one.members[0].model.model_id
    ensemble = EnsembleConfig(outputs=("entry_timing",))
    sets = [
        one,
        _loaded(members, "entry_timing", "peak_detection"),
        _loaded(members, "peak_detection", "entry_timing"),
        _loaded(members, "entry_timing", ensemble=ensemble),
        _loaded(members, "entry_timing", ensemble=EnsembleConfig(outputs=("not entry_timing",))),
    ]
    assert len({each.model_id for each in sets}) == len(sets) and min(each.model_id for each in sets) >= 0
    assert _loaded(members, "entry_timing", "peak_detection").model_id == sets[1].model_id
    assert make_set([]).model_id == -1


def test_a_member_is_replaced_in_its_place_and_a_new_one_comes_last(members, tmp_path: Path) -> None:
    models = _loaded(members, "entry_timing", "market_regime")
    other = booster(training_rows(3), label_of(training_rows(3), 3) > 0, trees=5, objective="binary")
    new = load_model(_write(tmp_path / "new.txt", other, name="entry_timing", version="2"), Schema())
    swapped = models.with_model(new)
    assert swapped.names == models.names and swapped.model_id != models.model_id
    assert [each["version"] for each in swapped.about()] == ["2", "1"]
    rows = training_rows(5)
    out = predict(swapped.tables, _vectors(rows))
    np.testing.assert_array_equal(out[:, 0], other.predict(rows, num_threads=1))
    np.testing.assert_array_equal(out[:, 1:], predict(models.tables, _vectors(rows))[:, 1:])
    more = swapped.with_model(load_model(members["peak_detection"][0], Schema()))
    assert more.names == (*models.names, "peak_detection")
    np.testing.assert_array_equal(predict(more.tables, _vectors(rows))[:, :5], out)


def test_a_member_with_other_outputs_is_refused_in_its_place(members, tmp_path: Path) -> None:
    path = _write(tmp_path / "m.txt", members["market_regime"][1], name="entry_timing", classes=REGIMES)
    with pytest.raises(
        ModelError, match=r"entry_timing\.ranging.*the one in use puts out entry_timing, which"
    ):
        _loaded(members, "entry_timing").with_model(load_model(path, Schema()))


def test_more_outputs_than_a_prediction_holds_are_refused(members, tmp_path: Path) -> None:
    paths = [
        _write(tmp_path / f"{i}.txt", members["market_regime"][1], name=f"regime_{i}", classes=REGIMES)
        for i in range(4)
    ]
    models = load_set(InferenceConfig(models=tuple(map(str, paths[:3]))), Schema())
    assert len(models.names) == OUTPUTS_MAX
    with pytest.raises(ModelError, match=r"the models have 16 outputs .*a prediction holds 12"):
        models.with_model(load_model(paths[3], Schema()))
    with pytest.raises(ModelError, match="two are called 'regime_0'"):
        make_set([load_model(paths[0], Schema())] * 2)


# ---- ensembles


@pytest.mark.parametrize(
    ("method", "weights", "intercept"),
    [("average", (), 0.0), ("weighted", (0.5, 2.0, 0.0), 0.0), ("stacking", (0.7, -0.2, 1.3), 0.4)],
)
def test_the_compiled_ensemble_is_that_of_the_class(
    members, tmp_path: Path, method: str, weights: tuple[float, ...], intercept: float
) -> None:
    outputs = ("entry_timing", "not peak_detection", "market_regime.trend_up")
    config = EnsembleConfig(outputs=outputs, method=method, weights=weights, intercept=intercept)
    needs = _write(
        tmp_path / "n.txt", members["entry_timing"][1], name="entry_timing", needs_all_features=True
    )
    models = _loaded(members, "market_regime", "peak_detection").with_model(load_model(needs, Schema()))
    models = make_set([member.model for member in models.members], config)
    assert models.names[-1] == "ensemble" and len(models.names) == 7
    rows = training_rows(SEED, categorical=True, missing=True)
    out = predict(models.tables, _vectors(rows))
    named = dict(zip(models.names, out.T, strict=True))
    given = np.column_stack(
        [named["entry_timing"], 1.0 - named["peak_detection"], named["market_regime.trend_up"]]
    )
    ours = Ensemble(
        outputs, method, dict(zip(outputs, weights, strict=True)) if method == "weighted" else None
    )
    if method == "stacking":
        ours._stack = np.array(weights), intercept  # as fit() leaves it
    expected = [ours.combine(dict(zip(outputs, row, strict=True))) for row in given]
    np.testing.assert_allclose(named["ensemble"], expected, rtol=0, atol=1e-15)


def test_an_ensemble_leaves_out_what_says_nothing_and_keeps_its_place(members, tmp_path: Path) -> None:
    config = EnsembleConfig(outputs=("entry_timing", "market_regime.trend_up"))
    models = _loaded(members, "entry_timing", "market_regime", ensemble=config)
    added = models.with_model(load_model(members["peak_detection"][0], Schema()))
    assert added.names == (*models.names, "peak_detection") and added.names[5] == "ensemble"
    rows = training_rows(SEED)
    out = predict(added.tables, _vectors(rows))
    np.testing.assert_allclose(out[:, 5], (out[:, 0] + out[:, 2]) / 2.0, rtol=0, atol=1e-15)


def test_an_ensemble_of_an_output_that_is_not_there_is_refused(members) -> None:
    with pytest.raises(ModelError, match=r"no model puts out 'market_regime\.up'; there are: entry_timing"):
        _loaded(members, "entry_timing", ensemble=EnsembleConfig(outputs=("market_regime.up",)))


# ---- what lies outside training


def test_strangeness_is_the_share_of_features_outside_the_narrowest_range_in_training(
    members, tmp_path
) -> None:
    wide, narrow = (0.0, *[0.5] * 9, 1.0), (0.25, *[0.5] * 9, 2.0)
    paths = [
        _write(tmp_path / "a.txt", members["entry_timing"][1], name="a", quantiles={"f0": wide, "f1": wide}),
        _write(
            tmp_path / "b.txt", members["market_regime"][1], name="b", quantiles={"f0": narrow, "f3": wide}
        ),
    ]
    models = make_set([load_model(path, Schema()) for path in paths])
    f0, f1, f3 = (Schema().index(name) for name in ("f0", "f1", "f3"))
    inside = np.zeros(FEATURES_MAX)
    inside[[f0, f1, f3]] = 0.5

    def score(**values: float) -> float:
        vector = inside.copy()
        vector[[Schema().index(name) for name in values]] = list(values.values())
        return float(strangeness(models.limits, vector))

    assert score() == 0.0
    assert score(f0=0.2) == score(f0=1.1) == score(f3=-1.0) == pytest.approx(1 / 3)
    assert score(f0=9.0, f1=9.0, f3=9.0) == 1.0
    assert score(f0=math.nan, f2=1e9) == 0.0


def test_without_known_ranges_nothing_is_strange(members) -> None:
    assert strangeness(_loaded(members, "entry_timing").limits, np.full(FEATURES_MAX, 1e300)) == 0.0
