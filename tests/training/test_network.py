import dataclasses

import pytest
import torch
from torch.nn import functional

from cosmiq_astro.models.layers import kl_divergence, sample_weights
from cosmiq_astro.training.network import ElboNetwork, Networks, Teacher, masked_cross_entropy


def test_only_valid_pixels_count():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 8, 8, generator=generator)
    labels = (torch.rand(2, 1, 8, 8, generator=generator) < 0.5).float()
    valid = torch.rand(2, 1, 8, 8, generator=generator) < 0.7
    expected = functional.binary_cross_entropy_with_logits(logits[valid], labels[valid])
    torch.testing.assert_close(masked_cross_entropy(logits, labels, valid), expected)
    changed = torch.where(valid, logits, 1e4)
    torch.testing.assert_close(masked_cross_entropy(changed, labels, valid), expected)


def test_no_valid_pixel_is_no_loss():
    zeros = torch.zeros(1, 1, 2, 2)
    assert masked_cross_entropy(zeros, zeros, zeros.bool()) == 0


@pytest.mark.parametrize("with_noise", [True, False])
def test_elbo_network(make_tiny, with_noise):
    networks = Networks(make_tiny(variational=("*",), n_networks=2).networks)
    model = ElboNetwork(networks)
    x = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = sample_weights(networks, torch.Generator().manual_seed(2))[1]
    logits, kl = model(x, noise if with_noise else None)
    for i, network in enumerate(networks):
        assert torch.allclose(logits[:, [i]], network(x)) is not with_noise
    torch.testing.assert_close(kl, sum(kl_divergence(network) for network in networks))


def test_a_teacher_speaks_where_labels_are_silent(tiny_unet):
    generator = torch.Generator().manual_seed(1)
    channels = len(tiny_unet.network.config.channels)
    inputs = torch.randn(3, channels, 32, 32, generator=generator)
    teacher = Teacher(dataclasses.replace(tiny_unet, temperature=2.0), "cpu")
    told = torch.sigmoid(tiny_unet.network(inputs) / 2)
    torch.testing.assert_close(teacher.probability(inputs), told)
    logits = torch.randn(told.shape, generator=generator, requires_grad=True)
    valid = torch.rand(told.shape, generator=generator) < 0.5
    silent = torch.zeros_like(valid)
    assert teacher.loss(inputs, logits, valid, silent) == 0
    at = (1, 0, 16, slice(16, 20))
    silent[at], valid[at] = True, False
    for labelled in (valid, torch.zeros_like(valid)):
        loss = teacher.loss(inputs, logits, labelled, silent)
        each = functional.binary_cross_entropy_with_logits(logits[at], told[at], reduction="sum")
        torch.testing.assert_close(loss, each / (labelled.sum() + 4))
    loss.backward()
    assert torch.count_nonzero(logits.grad) == 4
    assert (logits.grad[at] != 0).all()
