"""What follows from a scan: narrower ranges that keep the job's own, points to begin with."""

import pytest

from sigdca.search import Curve, Sensitivity, kinds_of, narrowed, own_points, seeds

SPARSITY, BITS = "compress.recipe.0.prune.sparsity.ip1", "compress.recipe.1.share.bits"


def scan():
    def curve(layer, kind, levels, accuracy):
        return Curve(layer=layer, layer_kind="fc", kind=kind, levels=levels, accuracy=accuracy)

    levels, bits = (0.5, 0.8, 0.85, 0.9, 0.95), (6, 5, 4, 3, 2)
    return Sensitivity(
        key="k",
        num_images=100,
        accuracy=98.0,
        curves=(
            curve("ip1", "sparsity", levels, (98, 98, 98, 97, 92)),
            curve("ip2", "sparsity", levels, (98, 97, 96, 90, 80)),
            curve("ip1", "bits", bits, (98, 98, 97.8, 97, 90)),
            curve("ip2", "bits", bits, (98, 98, 98, 95, 60)),
        ),
    )


def test_what_costs_nothing_bounds_the_space(make_job):
    job = make_job()
    space = job.search.space
    assert kinds_of(space) == ["bits", "sparsity"]
    found = narrowed(space, scan(), own_points(job, space))
    assert found["compress.recipe.0.prune.sparsity.ip1"].uniform == (0.85, 0.99)
    assert found["compress.recipe.1.share.bits"].int == (2, 5)
    assert found["compress.recipe.2.encode.coder"] == space["compress.recipe.2.encode.coder"]


def test_spaces_inside_a_space_are_narrowed_too(make_job):
    job = make_job(
        "search.space={compress.recipe.0: {optional: "
        "{compress.recipe.0.prune.sparsity.ip1: {uniform: [0.8, 0.99]}}}, seed: {choice: "
        "{a: {value: 1, space: {compress.recipe.1.share.bits: {int: [2, 8]}}}}}}"
    )
    found = narrowed(job.search.space, scan(), [])
    inside = found["compress.recipe.0"].optional["compress.recipe.0.prune.sparsity.ip1"]
    assert inside.uniform == (0.85, 0.99)
    assert found["seed"].choice["a"].space["compress.recipe.1.share.bits"].int == (2, 5)


def test_the_jobs_own_values_stay_inside(make_job):
    job = make_job("compress.recipe.0.prune.sparsity.ip1=0.82", "compress.recipe.1.share.bits=6")
    found = narrowed(job.search.space, scan(), own_points(job, job.search.space))
    assert found["compress.recipe.0.prune.sparsity.ip1"].uniform == (0.82, 0.99)
    assert found["compress.recipe.1.share.bits"].int == (2, 6)


def test_the_values_of_all_written_alternatives_stay_inside(make_job):
    job = make_job()
    sparsity, bits = "compress.recipe.0.prune.sparsity.ip1", "compress.recipe.1.share.bits"
    points = [{sparsity: 0.9, bits: 4}, {sparsity: 0.82, bits: 6}]
    found = narrowed(job.search.space, scan(), points)
    assert found[sparsity].uniform == (0.82, 0.99)
    assert found[bits].int == (2, 6)


def test_an_own_value_of_nothing_stays_inside_too(make_job):
    job = make_job(
        "compress.recipe.0.prune.sparsity.ip1=0.0",
        "search.space={compress.recipe.0.prune.sparsity.ip1: {quantized: [0.0, 0.9, 0.1]}}",
    )
    found = narrowed(job.search.space, scan(), own_points(job, job.search.space))
    assert found["compress.recipe.0.prune.sparsity.ip1"].quantized == (0.0, 0.9, 0.1)


@pytest.mark.parametrize(
    ("path", "given", "narrow"),
    [
        (SPARSITY, (0.55, 0.95, 0.1), (0.85, 0.95, 0.1)),
        (SPARSITY, (0.55, 0.9, 0.1), (0.55, 0.9, 0.1)),
        (SPARSITY, (0.5, 0.98, 0.2), (0.7, 0.9, 0.2)),
        (BITS, (2, 8, 2), (2, 6, 2)),
    ],
    ids=["two are left", "one would be", "an end between two", "bits"],
)
def test_what_is_left_of_steps_is_a_range_of_steps(make_job, path, given, narrow):
    space = make_job(f"search.space={{{path}: {{quantized: {list(given)}}}}}").search.space
    assert narrowed(space, scan(), [])[path].quantized == narrow


def test_seeds_are_as_harsh_as_each_layer_stands_alone(make_job):
    job = make_job()
    points = seeds(job.search.space, scan(), own_points(job, job.search.space))
    sparsity = [point["compress.recipe.0.prune.sparsity.ip1"] for point in points]
    bits = [point["compress.recipe.1.share.bits"] for point in points]
    assert sparsity == [0.85, 0.95], "0.9 is the job's own"
    assert bits == [4, 3], "the layer that stands least decides, where one figure is for all"
    assert {point["compress.recipe.2.encode.coder"] for point in points} == {"huffman"}


def test_without_a_scan_the_price_on_bits_alone_is_walked(make_job):
    job = make_job(
        "compress.recipe=[{quantize: {rate_lambda: 1.0e-5, step: 0.1}}, encode]",
        "search.space={compress.recipe.0.quantize.rate_lambda: {loguniform: [1.0e-6, 1.0e-4]}}",
    )
    points = seeds(job.search.space, None, own_points(job, job.search.space))
    prices = [point["compress.recipe.0.quantize.rate_lambda"] for point in points]
    assert len(prices) == 3
    assert prices == sorted(prices)
    assert 1e-6 < prices[0] < prices[-1] < 1e-4


def test_an_alternatives_own_values_stay_inside_and_are_what_its_seeds_have(make_job):
    job = make_job(
        "search.space={compress.recipe: {choice: {priced: {value: "
        "[{quantize: {rate_lambda: 1.0e-5, step: 0.1, learning_rate: 0.04}}, encode], space: "
        "{compress.recipe.0.quantize.step: {quantized: [0.06, 0.2, 0.02]}, "
        "compress.recipe.0.quantize.learning_rate: {loguniform: [0.02, 0.2]}}}}}}"
    )
    free = Curve(layer="ip1", layer_kind="fc", kind="step", levels=(0.14,), accuracy=(99.0,))
    found = scan().model_copy(update={"curves": (free,)})
    own = own_points(job, job.search.space)
    space = narrowed(job.search.space, found, own)["compress.recipe"].choice["priced"].space
    assert space["compress.recipe.0.quantize.step"].quantized == (0.1, 0.2, 0.02)
    prefix = "compress.recipe=priced:compress.recipe.0.quantize."
    points = seeds(job.search.space, found, own)
    assert {point[f"{prefix}learning_rate"] for point in points} == {0.04}


def test_the_seeds_go_through_the_alternatives_in_turn(make_job):
    recipe = "{value: [{quantize: {rate_lambda: 1.0e-5, step: 0.1}}, encode], space: "
    price = "{compress.recipe.0.quantize.rate_lambda: {loguniform: [1.0e-6, 1.0e-4]}}}"
    job = make_job(
        f"search.space={{compress.recipe: {{choice: {{a: {recipe}{price}, b: {recipe}{price}}}}}}}"
    )
    points = seeds(job.search.space, None, [])
    assert [point["compress.recipe"] for point in points] == ["a", "b"] * 3
