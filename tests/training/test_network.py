import dataclasses

import pytest
import torch
from torch.nn import functional

from cosmiq_astro.models.layers import kl_divergence, sample_weights
from cosmiq_astro.training.network import ElboNetwork, Teacher, masked_cross_entropy


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
def test_elbo_network(tiny_vi, with_noise):
    model = ElboNetwork(tiny_vi.network)
    x = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = sample_weights(tiny_vi.network, torch.Generator().manual_seed(2))[1]
    logits, kl = model(x, noise if with_noise else None)
    assert torch.allclose(logits, tiny_vi.network(x)) is not with_noise
    assert kl == kl_divergence(tiny_vi.network)


def test_a_teacher_speaks_where_labels_are_silent(tiny_unet):
    generator = torch.Generator().manual_seed(1)
    channels, margin = len(tiny_unet.network.config.channels), tiny_unet.network.grid
    inputs = torch.randn(3, channels, 32, 32, generator=generator)
    teacher = Teacher(dataclasses.replace(tiny_unet, temperature=2.0), "cpu")
    own = tiny_unet.network(inputs)
    told = torch.sigmoid(own / 2)
    torch.testing.assert_close(teacher.probability(inputs), told)
    valid = torch.zeros(3, 1, 32, 32, dtype=torch.bool)
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    valid[inside] = True
    logits = torch.randn(own.shape, generator=generator, requires_grad=True)
    assert teacher.loss(inputs, logits, valid) == 0
    valid[1, 0, 16, 16:20] = False
    loss = teacher.loss(inputs, logits, valid)
    at = (1, 0, 16, slice(16, 20))
    expected = functional.binary_cross_entropy_with_logits(logits[at], told[at], reduction="sum")
    torch.testing.assert_close(loss, expected / valid.sum())
    loss.backward()
    assert torch.count_nonzero(logits.grad) == 4
    assert (logits.grad[at] != 0).all()
