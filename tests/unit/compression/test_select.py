import pytest
from torch import nn

from sigdca.compression import Layer, layers_of, per_layer
from sigdca.errors import JobError

LENET5 = [("conv1", "conv"), ("conv2", "conv"), ("ip1", "fc"), ("ip2", "fc")]


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(11)), nn.BatchNorm2d(1))
        self.classifier = nn.Linear(1, 2)


def names(setting, layers=LENET5):
    return per_layer(setting, [Layer(*layer) for layer in layers], "here")


def test_layers_are_convolutions_and_linear_layers_in_module_order(net):
    assert layers_of(net) == [("conv1", "conv"), ("ip1", "fc"), ("ip2", "fc")]


def test_other_modules_with_weights_are_no_layers():
    nested = layers_of(Nested())
    assert [layer.name for layer in nested][-2:] == ["features.10", "classifier"]
    assert len(nested) == 12


def test_a_module_used_twice_in_the_tree_is_one_layer():
    shared = nn.Linear(2, 2)
    assert layers_of(nn.Sequential(shared, nn.ReLU(), shared)) == [("0", "fc")]


def test_one_figure_is_every_layers():
    assert names(0.5) == {"conv1": 0.5, "conv2": 0.5, "ip1": 0.5, "ip2": 0.5}
    assert names(0.5, []) == {}


def test_a_layers_own_name_comes_before_prefix_and_kind():
    setting = {"fc": 5, "ip": 6, "ip1": 7, "conv": 8}
    assert names(setting) == {"conv1": 8, "conv2": 8, "ip1": 7, "ip2": 6}
    assert names(dict(reversed(setting.items()))) == names(setting)


def test_the_longest_prefix_counts():
    layers = [("features.0", "conv"), ("features.10", "conv"), ("classifier", "fc")]
    assert names({"f": 1, "features.1": 2, "conv": 3}, layers) == {
        "features.0": 1,
        "features.10": 2,
    }


def test_a_key_that_is_a_layers_name_is_not_a_prefix():
    layers = [("features.1", "conv"), ("features.10", "conv")]
    assert names({"features.1": 0.5}, layers) == {"features.1": 0.5}


def test_a_kind_is_not_a_prefix():
    assert names({"fc": 1}, [("fc6", "fc"), ("last", "fc")]) == {"fc6": 1, "last": 1}
    assert names({"conv": 1}, [("conv_like", "fc")]) == {"conv_like": 1}


def test_layers_that_are_not_named_are_left_out():
    assert names({"ip2": 0.0}) == {"ip2": 0.0}


def test_an_unknown_layer_is_named_with_the_nearest():
    with pytest.raises(JobError) as caught:
        names({"ip9": 0.5})
    assert str(caught.value) == (
        "here: no layer 'ip9' in the model; layers are conv1, conv2, ip1, ip2; did you mean 'ip2'?"
    )


@pytest.mark.parametrize("key", ["", "zzz", "conv10"])
def test_a_key_without_a_layer_is_refused(key):
    with pytest.raises(JobError, match=f"^here: no layer '{key}' in the model; layers are conv1,"):
        names({key: 0.5})


def test_a_long_list_of_layers_is_cut():
    layers = [(f"layer{number}", "fc") for number in range(30)]
    with pytest.raises(JobError, match=r"layer18, layer19, \.\.\."):
        names({"zzz": 0.5}, layers)


def test_a_model_without_layers_says_so():
    with pytest.raises(JobError, match="it has no conv or fc layer"):
        per_layer({"ip1": 0.5}, layers_of(nn.Sequential(nn.ReLU())), "here")
