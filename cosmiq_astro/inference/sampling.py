"""Weight draws and the loop over tiles: the sampling engine."""

import itertools
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from cosmiq_astro.familiarity.hits import HIT, HitFeatures, describe_hits
from cosmiq_astro.inference.moments import QUANTILE_WEIGHTS, GaussianHead
from cosmiq_astro.inference.parallel import map_tiles
from cosmiq_astro.inference.uncertainty import PredictiveMoments
from cosmiq_astro.models.fast_unet import Trunk
from cosmiq_astro.models.last_block import Heads, LastBlock, drawn_before
from cosmiq_astro.models.layers import sample_weights, turn_kernels
from cosmiq_astro.models.unet import empty_unet

__all__ = [
    "PLANES",
    "SAMPLING",
    "Prediction",
    "Sampler",
    "computing",
    "draw_weights",
    "network_of",
]

PLANES = ("probability", "uncertainty", "entropy", "mutual_information")
PRECISION = ("float32", "bfloat16")
SAMPLING = ("antithetic", "independent", "moments", "mean")


@dataclass(frozen=True)
class Prediction:
    """
    What a network says of one image.

    Attributes
    ----------
    planes : dict of Tensor
        The probability and those asked for, by name, float32, on the network's
        device; of a single draw without those that are 0.
    hits : `~cosmiq_astro.familiarity.hits.HitFeatures`
        What the network sees at the hits.
    """

    planes: dict
    hits: HitFeatures


@torch.no_grad()
def draw_weights(networks, T, *, sampling="antithetic", seed):
    """
    Draw the weights of a model ``T`` times.

    Parameters
    ----------
    networks : sequence of `~cosmiq_astro.models.unet.UNet`
        Those of the model, which take turns; they are not changed, so threads may share them.
    T : int
        Number of draws, 1 or more.
    sampling : {'antithetic', 'independent', 'moments', 'mean'}
        ``'antithetic'`` draws pairs of opposite noise, which cancels the error
        of p̂ that is odd in the noise; the last two draw none.
    seed : int
        Seed of the draws. Draw ``t`` is the same for any ``T`` above it.

    Returns
    -------
    draws : list of tuple
        A network, and what was drawn of its weights: Tensors by the name of the parameter, on
        its device. Where nothing is drawn, each network once, without any.

    Raises
    ------
    ValueError
        If the sampling is ``'moments'`` and weights are drawn before the head;
        the layer is named.
    """
    if sampling == "moments" and (early := drawn_before(networks[0], "head")):
        raise ValueError(
            f"sampling={sampling!r} needs a model that draws the weights of its head alone, and "
            f"this one does in {', '.join(early)}; use 'antithetic'"
        )
    if sampling in ("moments", "mean"):
        return [(network, {}) for network in networks]
    generator = torch.Generator().manual_seed(seed)
    draws, opposite = [], dict.fromkeys(networks)
    for network in itertools.islice(itertools.cycle(networks), T):
        is_first = sampling == "antithetic" and opposite[network] is None
        weights, noise = sample_weights(network, generator, noise=opposite[network])
        draws.append((network, weights))
        opposite[network] = {name: -e for name, e in noise.items()} if is_first else None
    return draws


def network_of(network, weights, *, view=0):
    """
    Return a draw of a network as a network: the plain form of what `Sampler` computes.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        The network; it is not changed.
    weights : dict of Tensor
        From `draw_weights`; the means in place of what it leaves out.
    view : int, optional
        How it is turned, see `~cosmiq_astro.models.layers.turn_kernels`.

    Returns
    -------
    network : `~cosmiq_astro.models.unet.UNet`
        Deterministic. What is neither drawn nor turned is shared, not copied.
    """
    plain = empty_unet(replace(network.config, variational=())).requires_grad_(False)
    state = network.state_dict() | weights
    state = {name: state[name].detach() for name in plain.state_dict()}
    plain.load_state_dict(turn_kernels(state, view), assign=True)
    return plain.eval()


def turn(planes, view, *, axes=(-2, -1)):
    """
    Turn planes as an image of one view is; the same once more turns them back.

    Parameters
    ----------
    planes : Tensor
        Any shape.
    view : {0, 1, 2, 3}
        As they are, transposed, turned by half a turn, or both.
    axes : tuple of int, optional
        Those of the image.

    Returns
    -------
    turned : Tensor
        A view of them, or a copy.
    """
    planes = planes.transpose(*axes) if view & 1 else planes
    return planes.flip(*axes) if view & 2 else planes


class Sampler:
    """
    The draws of a model, ready to look at images.

    Cosmic rays come from anywhere, so what the network says of the image
    turned is as good as what it says of the image: each draw is the mean over
    ``views`` of it. So what the draws differ in is due to their weights alone.

    Parameters
    ----------
    draws : list of tuple
        From `draw_weights`, on the device to compute on; threads may share the networks.
    sampling : {'antithetic', 'independent', 'moments', 'mean'}
        What they were drawn for.
    views : {1, 2, 4}
        The image alone, with its transpose, or also both turned by half a turn.
    temperature : float
        Divides the logits of each draw in each view.
    precision : {'float32', 'bfloat16'}, optional
        Of the convolutions.
    """

    def __init__(self, draws, *, sampling, views, temperature, precision="float32"):
        self._views, self._precision = range(views), precision
        self._network = draws[0][0]
        by_network = {}
        for network, weights in draws:
            by_network.setdefault(network, []).append(weights)
        with computing(self.device, "float32"):
            self._parts = [
                part
                for network, weights in by_network.items()
                for part in _parts_of(network, weights, sampling, temperature)
            ]
        each = QUANTILE_WEIGHTS if sampling == "moments" else [1.0]
        self._weights = [weight / len(draws) for _ in draws for weight in each]
        self._has_spread = len(self._weights) > 1

    @property
    def device(self):
        """Where it computes."""
        return self._network.head.weight.device

    @torch.inference_mode()
    def predict(self, frame, tiles, *, planes=PLANES, progress=lambda tiles: tiles):
        """
        Look at every tile of an image with every draw.

        Parameters
        ----------
        frame : `~cosmiq_astro.inference.frame.Frame`
            The image, on the sampler's device.
        tiles : list of `~cosmiq_astro.inference.tiling.Tile`
            Those that the frame was made for.
        planes : sequence of str, optional
            Which of `PLANES` to make.
        progress : callable, optional
            Wraps the list of tiles, as `tqdm.tqdm` does.

        Returns
        -------
        prediction : `Prediction`
            Full-size planes.
        """
        channels = self._network.config.channels
        whole = {
            name: torch.empty(frame.image.shape, device=self.device)
            for name in dict.fromkeys(["probability", *planes])
            if self._has_spread or name in ("probability", "entropy")
        }

        @torch.inference_mode()
        def compute(tile):
            moments, seen = self._draws_of(frame.read(tile, channels), tile.crop, whole)
            for name, plane in whole.items():
                part = plane[tile.write]
                part.copy_(moments.plane(name)[: part.shape[0], : part.shape[1]])
            return describe_hits(seen.at(whole["probability"][tile.write] > HIT))

        hits = HitFeatures()
        found = map_tiles(compute, tiles, self.device)
        for _, described in zip(progress(tiles), found, strict=True):
            hits.add(described)
        return Prediction(whole, hits)

    def _draws_of(self, inputs, crop, planes):
        """Return what all draws say of a tile, and what the last block sees of it."""
        seen, passes = [], []
        for view in self._views:
            turned = turn(inputs, view).contiguous(memory_format=torch.channels_last)
            # Tiles have as much of a halo on either side.
            core = crop[::-1] if view & 1 else crop
            with computing(self.device, self._precision):
                seen.append(self._parts[0][0](turned, core))
            passes.append(self._logits(seen[-1], turned, core, view))
        moments = PredictiveMoments(with_information="mutual_information" in planes)
        for weight, each in zip(self._weights, zip(*passes, strict=True), strict=True):
            probability, *others = (logits[0].sigmoid_() for logits in each)
            for other in others:
                probability.add_(other)
            moments.add(probability.div_(len(each)) if others else probability, weight)
        return moments, seen[0]

    def _logits(self, seen, inputs, crop, view):
        """Yield the logits of every draw in one view, of which the first trunk has seen a tile."""
        latest = self._parts[0][0]
        for trunk, block, head in self._parts:
            with computing(self.device, self._precision):
                if trunk is not latest:
                    latest, seen = trunk, trunk(inputs, crop)
                maps = block(seen)
            # Draws of a head differ by less than what bfloat16 keeps.
            yield from head.logits(turn(maps, view, axes=(1, 2)).float())


def _parts_of(network, draws, sampling, temperature):
    """Return trunk, last block and head of the draws of one network, what is shared only once."""
    if sampling == "moments":
        head = GaussianHead(network, temperature=temperature)
    elif not drawn_before(network, "head"):
        head = Heads(network, draws, temperature=temperature)
    else:
        shared = None if drawn_before(network, "last block") else Trunk(network)
        drawn = [network_of(network, weights) for weights in draws]
        return [
            (shared or Trunk(one), LastBlock(one), Heads(one, temperature=temperature))
            for one in drawn
        ]
    return [(Trunk(network), LastBlock(network), head)]


def computing(device, precision):
    """
    Give the precision asked for to the convolutions of a block of code.

    Parameters
    ----------
    device : torch.device
        Where they run.
    precision : {'float32', 'bfloat16'}
        Theirs.

    Returns
    -------
    context : context manager
        For ``with``; nothing is changed after it.
    """
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    if device.type == "cuda":
        # Where nothing is said, a GPU rounds what it convolves to ten bits.
        now = torch.backends.cudnn
        return now.flags(
            enabled=now.enabled,
            benchmark=now.benchmark,
            deterministic=now.deterministic,
            allow_tf32=False,
        )
    # torch.autocast does not know every device.
    return nullcontext()
