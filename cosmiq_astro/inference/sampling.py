"""Weight draws and the loop over tiles: the sampling engine."""

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
def draw_weights(network, T, *, sampling="antithetic", seed):
    """
    Draw the weights of a variational network ``T`` times.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        The network; it is not changed, so threads may share it.
    T : int
        Number of draws, 1 or more.
    sampling : {'antithetic', 'independent', 'moments', 'mean'}
        ``'antithetic'`` draws pairs of opposite noise, which cancels the error
        of p̂ that is odd in the noise; the last two draw none.
    seed : int
        Seed of the draws. Draw ``t`` is the same for any ``T`` above it.

    Returns
    -------
    draws : list of dict of Tensor
        Weights by the name of the parameter, on the device of ``network``;
        one without any, which stands for the network itself, where none are
        drawn.

    Raises
    ------
    ValueError
        If the sampling is ``'moments'`` and weights are drawn before the head;
        the layer is named.
    """
    if sampling == "moments" and (early := drawn_before(network, "head")):
        raise ValueError(
            f"sampling={sampling!r} needs a model that draws the weights of its head alone, and "
            f"this one does in {', '.join(early)}; use 'antithetic'"
        )
    if sampling in ("moments", "mean"):
        return [{}]
    generator = torch.Generator().manual_seed(seed)
    draws, opposite = [], None
    for t in range(T):
        weights, noise = sample_weights(network, generator, noise=opposite)
        draws.append(weights)
        is_first = sampling == "antithetic" and t % 2 == 0
        opposite = {name: -e for name, e in noise.items()} if is_first else None
    return draws


def network_of(network, weights, *, view=0):
    """
    Return a draw of a network as a network: the plain form of what `Sampler` computes.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        The network; it is not changed.
    weights : dict of Tensor
        One of `draw_weights`; the means in place of what it leaves out.
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
    The draws of a network, ready to look at images.

    Cosmic rays come from anywhere, so what the network says of the image
    turned is as good as what it says of the image: each draw is the mean over
    ``views`` of it. So what the draws differ in is due to their weights alone.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        On the device to compute on; threads may share it.
    draws : list of dict of Tensor
        From `draw_weights`.
    sampling : {'antithetic', 'independent', 'moments', 'mean'}
        What they were drawn for.
    views : {1, 2, 4}
        The image alone, with its transpose, or also both turned by half a turn.
    temperature : float
        Divides the logits of each draw in each view.
    precision : {'float32', 'bfloat16'}, optional
        Of the convolutions.
    """

    def __init__(self, network, draws, *, sampling, views, temperature, precision="float32"):
        self._network, self._views = network, range(views)
        self._precision = precision
        self._weights = [1 / len(draws)] * len(draws)
        with computing(self.device, "float32"):
            trunk = Trunk(network)
            if sampling == "moments":
                head = GaussianHead(network, temperature=temperature)
                self._parts = [(trunk, LastBlock(network), head)]
                self._weights = QUANTILE_WEIGHTS
            elif not drawn_before(network, "head"):
                heads = Heads(network, draws, temperature=temperature)
                self._parts = [(trunk, LastBlock(network), heads)]
            else:
                # The trunk is computed once where it is the same for all.
                shared = None if drawn_before(network, "last block") else trunk
                networks = [network_of(network, weights) for weights in draws]
                self._parts = [
                    (shared or Trunk(n), LastBlock(n), Heads(n, temperature=temperature))
                    for n in networks
                ]
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
            trunk, block, _ = self._parts[0]
            with computing(self.device, self._precision):
                seen.append(trunk(turned, core))
                maps = block(seen[-1])
            passes.append(self._logits(seen[-1], maps, turned, core, view))
        moments = PredictiveMoments(with_information="mutual_information" in planes)
        for weight, each in zip(self._weights, zip(*passes, strict=True), strict=True):
            probability, *others = (logits[0].sigmoid_() for logits in each)
            for other in others:
                probability.add_(other)
            moments.add(probability.div_(len(each)) if others else probability, weight)
        return moments, seen[0]

    def _logits(self, seen, maps, inputs, crop, view):
        """Yield the logits of every draw in one view; the first has been looked at already."""
        for i, (trunk, block, head) in enumerate(self._parts):
            if i:
                with computing(self.device, self._precision):
                    is_same = trunk is self._parts[0][0]
                    maps = block(seen if is_same else trunk(inputs, crop))
            # Draws of a head differ by less than what bfloat16 keeps.
            yield from head.logits(turn(maps, view, axes=(1, 2)).float())


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
