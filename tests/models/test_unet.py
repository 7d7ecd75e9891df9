import pytest
import torch

from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights


def build(**kwargs):
    return initialize_weights(
        empty_unet(UNetConfig(hidden=4, **kwargs)), torch.Generator().manual_seed(0)
    ).eval()


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_receptive_radius_is_a_bound_and_is_reached(levels):
    network = build(levels=levels).double()
    x = torch.zeros(1, 2, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        # Positive biases keep every ReLU open, so that nothing hides an influence.
        for name, parameter in network.named_parameters():
            parameter.fill_(0.5 if name.endswith("bias") else 0.1)
        before = network(x)
        reach = 0
        for y in range(48, 48 + network.grid):
            changed = x.clone()
            changed[..., y, 48] = 1e4
            moved = (network(changed) != before)[0, 0].nonzero()
            distance = (moved - torch.tensor([y, 48])).abs().max().item()
            reach = max(reach, distance)
    assert reach == network.receptive_radius


def test_each_level_has_twice_the_maps():
    network = build()
    assert network.config.maps == (4, 8, 16)
    assert [block[1].out_channels for block in network.down] == [4, 8, 16]
    assert [block[1].out_channels for block in network.merge] == [4, 8]
    assert network(torch.zeros(1, 2, 16, 24)).shape == (1, 1, 16, 24)


def test_building_and_initialising_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    one, two = build(), build()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.head.weight, two.head.weight)


def test_variational_network_at_its_means_is_the_plain_network():
    plain, variational = build(), build(variational=("*",))
    variational.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(plain(x), variational(x), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "value"), [("hidden", 0), ("levels", -1), ("levels", 2.0)])
def test_bad_configuration(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
        UNetConfig(**{name: value})


@pytest.mark.parametrize("value", [0, 3, 8, 4.0, "4", None, True])
def test_views_are_one_two_or_four(value):
    with pytest.raises(ValueError, match=r"views must be one of \(1, 2, 4\), got"):
        UNetConfig(views=value)


def test_two_parts_are_the_whole_network():
    network = build()
    x = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.finish(network.features(x)), network(x), rtol=0, atol=0)
