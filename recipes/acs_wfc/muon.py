"""The optimiser Muon, for the kernels of convolutions."""

import torch


class Muon(torch.optim.Optimizer):
    """
    Steps along the momentum with all its singular values brought near one.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; steps as large as those that
    Adam would take: Liu et al. 2025, arXiv:2502.16982, eq. 4. `torch.optim.Muon` does the same, of
    matrices alone.

    Parameters
    ----------
    kernels : iterable of Tensor
        Of two or more dimensions: the first are rows, all others columns.
    lr : float, optional
        Learning rate, as for Adam.
    momentum : float, optional
        How much of it stays with each step.
    """

    def __init__(self, kernels, lr=1e-3, momentum=0.95):
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        """Take a step."""
        for group in self.param_groups:
            for kernel in group["params"]:
                mean = self.state[kernel].setdefault("mean", torch.zeros_like(kernel))
                mean.lerp_(kernel.grad, 1 - group["momentum"])
                ahead = kernel.grad.lerp(mean, group["momentum"]).flatten(1)
                size = 0.2 * max(ahead.shape) ** 0.5
                change = orthogonalized(ahead).view_as(kernel)
                kernel.add_(change, alpha=-group["lr"] * size)


def orthogonalized(matrix):
    """Return the matrix with singular values between 0.7 and 1.2 (Newton-Schulz, five rounds)."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x.T if is_tall else x
