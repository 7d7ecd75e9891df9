"""A seed means the same draws on every machine, and a call leaves nothing behind."""

import hashlib
import random

import numpy as np
import pytest
import torch

import cosmiq_astro as ca
from cosmiq_astro.hst import detect_file
from cosmiq_astro.inference.sampling import draw_weights, network_of
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights

PLANES = ("probability", "uncertainty", "entropy", "mutual_information")

# All drawn weights of `flat_network`. No matrix product and no thread takes part; the normal
# numbers are made with the vectorised logarithm and cosine of AVX2, elsewhere the last bit may
# differ. To be changed only with a line in CHANGES.rst.
RECORDED = {
    ("antithetic", 0): "0dc766d31e894c4bc3b371b929757a29363ffb29e2c7899097345dc712306d90",
    ("antithetic", 12345): "18dea40a4c1efc37c4cb51beca71dcbc6f0d881d20c7b43503f06ee0791608d8",
    ("independent", 0): "4971e1e3aeab90f6f206cc5271c691e42ef6f4e07df0fd26a8a4198b3c07741b",
    ("mean", 0): "c797a859be1256e350c3f4e174ac2fad794f033d798a9375e6c43a9116ea79c7",
}
NOISE = ([-1.12584, -1.15236, -0.250579, -0.433879], [0.523656, 0.110097, -0.944521, 0.818932])
has_avx2 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def flat_network():
    """A variational network whose means and deviations are powers of two: exact everywhere."""
    config = UNetConfig(hidden=4, levels=2, variational=("*",))
    network = initialize_weights(empty_unet(config), torch.Generator().manual_seed(0))
    for name, parameter in network.named_parameters():
        # softplus(30) is 30 in float32, to the last bit.
        parameter.data.fill_(30.0 if name.endswith("_rho") else 0.25)
    return network.eval().requires_grad_(False)


def draw_networks(network, T, **settings):
    return [network_of(*draw) for draw in draw_weights([network], T, **settings)]


def digest(networks):
    """SHA-256 of all weights, in the order of their names."""
    total = hashlib.sha256()
    for network in networks:
        for name, tensor in sorted(network.state_dict().items()):
            values = np.ascontiguousarray(tensor.numpy(), dtype="<f4")
            total.update(f"{name} {values.shape}".encode() + values.tobytes())
    return total.hexdigest()


@pytest.mark.skipif(not has_avx2, reason="recorded with AVX2")
@pytest.mark.parametrize(("sampling", "seed"), RECORDED)
def test_draws_are_those_recorded(sampling, seed):
    networks = draw_networks(flat_network(), 5, sampling=sampling, seed=seed)
    assert digest(networks) == RECORDED[sampling, seed]


def test_draws_are_those_recorded_on_any_machine():
    one, two, three = draw_networks(flat_network(), 3, seed=0)
    # µ = 1/4 and σ = 30: the noise that torch's generator gives for the first weights, and its
    # negative in the second draw.
    noise = [(n.down[0][0].weight.flatten()[:4].numpy() - 0.25) / 30 for n in (one, two, three)]
    np.testing.assert_allclose(noise[0], NOISE[0], rtol=1e-5)
    np.testing.assert_allclose(noise[1], np.negative(NOISE[0]), rtol=1e-5)
    np.testing.assert_allclose(noise[2], NOISE[1], rtol=1e-5)


def test_draws_do_not_depend_on_threads_or_dtype_or_other_generators(tiny_vi):
    expected = digest(draw_networks(tiny_vi.network, 3, seed=9))
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_num_threads(threads + 1)
        torch.set_default_dtype(torch.float64)
        with torch.random.fork_rng():
            torch.manual_seed(4)
            assert digest(draw_networks(tiny_vi.network, 3, seed=9)) == expected
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


@pytest.mark.parametrize("sampling", ["antithetic", "independent", "mean"])
def test_repeated_calls_are_byte_identical(tiny_vi, frame, sampling):
    frame[3, 4] = np.nan
    seen = set()
    for _ in range(3):
        # A detector of its own each time: nothing is kept from call to call.
        detector = ca.CosmicRayDetector(tiny_vi, device="cpu", tile_size=48)
        for _ in range(2):
            maps = detector(frame, T=4, seed=11, sampling=sampling)
            seen.add(b"".join(getattr(maps, name).tobytes() for name in PLANES))
    assert len(seen) == 1


def states():
    return (
        torch.get_rng_state().numpy().tobytes(),
        str(np.random.get_state()),
        random.getstate(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        tuple(np.geterr().items()),
    )


@pytest.mark.parametrize("seed", [None, 3])
def test_nothing_global_is_touched_by_a_file_or_a_model(make_hst, model_folder, seed):
    file = make_hst()
    before = states()
    detect_file(file, model=model_folder, T=2, seed=seed, device="cpu", clean="medmask")
    assert states() == before
