"""CRNet's U-Nets for ACS/WFC, written from the names and shapes of their weights."""

import numpy as np
import torch
from torch import nn

__all__ = ["crnet"]

_GROUPS = 8


def _norm(kind, channels):
    if kind == "BN":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(min(_GROUPS, channels), channels)


class _Twice(nn.Module):
    """Two convolutions, each with its norm and ReLU."""

    def __init__(self, kind, first, last):
        super().__init__()
        layers = []
        for channels in (first, last):
            layers.append(nn.Conv2d(channels, last, 3, padding=1))
            layers += [_norm(kind, last), nn.ReLU()]
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)


class _First(nn.Module):
    def __init__(self, kind, first, last):
        super().__init__()
        self.conv = _Twice(kind, first, last)

    def forward(self, x):
        return self.conv(x)


class _Down(nn.Module):
    def __init__(self, kind, first, last):
        super().__init__()
        self.net = nn.Sequential(nn.MaxPool2d(2), _Twice(kind, first, last))

    def forward(self, x):
        return self.net(x)


class _Attention(nn.Module):
    """Weighs what is skipped by itself and by what comes from below."""

    def __init__(self, kind, channels, inner):
        super().__init__()
        self.W_gate = nn.Sequential(nn.Conv2d(channels, inner, 1), _norm(kind, inner))
        self.W_x = nn.Sequential(nn.Conv2d(channels, inner, 1), _norm(kind, inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), _norm(kind, 1), nn.Sigmoid())

    def forward(self, gate, x):
        return x * self.psi(torch.relu(self.W_gate(gate) + self.W_x(x)))


class _Up(nn.Module):
    def __init__(self, kind, first, last, *, attention):
        super().__init__()
        self.up = nn.ConvTranspose2d(first, last, 2, stride=2)
        self.att = _Attention(kind, last, last // 2) if attention else None
        self.conv = _Twice(kind, first, last)

    def forward(self, low, skip):
        low = self.up(low)
        if self.att is not None:
            skip = self.att(low, skip)
        return self.conv(torch.cat([skip, low], dim=1))


class _Last(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        return self.conv(x)


class _Network(nn.Module):
    def __init__(self, kind, *, attention):
        super().__init__()
        self.inc, self.down1 = _First(kind, 1, 32), _Down(kind, 32, 64)
        self.up8, self.outc = _Up(kind, 64, 32, attention=attention), _Last(32)

    def forward(self, x):
        skip = self.inc(x)
        return torch.sigmoid(self.outc(self.up8(self.down1(skip), skip)))


def crnet(path, *, tile=256):
    """
    Return CRNet as a function from a frame to probabilities.

    Parameters
    ----------
    path : `~pathlib.Path`
        ``crnet_acs_wfc_GN-16.pth``, or with AttGN or BN.
    tile : int
        Pixels to a side of what it sees at a time, each standardised by
        itself: it was trained and tested on 256, and what its norms do depends
        on it.
    """
    kind = path.name.split("_")[-1].split("-")[0]
    network = _Network(kind[-2:], attention=kind.startswith("Att"))
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    network.eval()

    @torch.inference_mode()
    def run(frame):
        image = np.asarray(frame.image, np.float32)
        whole = np.zeros(image.shape, np.float32)
        for y in range(0, image.shape[0], tile):
            for x in range(0, image.shape[1], tile):
                cut = image[y : y + tile, x : x + tile]
                rows, columns = (-n % 2 for n in cut.shape)
                padded = np.pad(cut, ((0, rows), (0, columns)), mode="edge")
                scaled = torch.from_numpy((padded - cut.mean()) / cut.std())
                out = network(scaled[None, None])[0, 0].numpy()
                whole[y : y + tile, x : x + tile] = out[: cut.shape[0], : cut.shape[1]]
        return whole

    return run
