"""The stacked hourglass with point, contour and heat maps.

Attribute names obey the published checkpoint's keys before they obey us (`hgs`, `low2`, `bn1`,
`skip_layer`, ...): renaming one breaks loading.

Source: "STAR Loss: Reducing Semantic Ambiguity in Facial Landmark Detection",
https://arxiv.org/abs/2306.02763, and "Stacked Hourglass Networks for Human Pose Estimation",
https://arxiv.org/abs/1603.06937.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.network.coord_conv import ConstantMapCoordConv, CoordConv
from runtime.network.edge_to_heatmap import EdgeToHeatmap
from runtime.network.soft_argmax import soft_argmax
from runtime.spec import Architecture

# The maps are a quarter of the picture: the stem halves twice.
STEM_STRIDE = 4


class StackMaps(NamedTuple):
    """What one stack says; all maps (N, channels, S / 4, S / 4)."""

    heat: Tensor
    point: Tensor
    edge: Tensor
    fused: Tensor


class Conv(nn.Module):
    """A convolution with bias, and batch norm and ReLU where asked."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, *, norm_relu: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=(kernel - 1) // 2)
        self.bn = nn.BatchNorm2d(out_channels) if norm_relu else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, S, S) to (N, out, S, S)."""
        x = self.conv(x)
        return x if self.bn is None else functional.relu(self.bn(x))


class ResBlock(nn.Module):
    """A pre-activation bottleneck: 1x1, 3x3, 1x1, each after batch norm and ReLU.

    `skip_layer` is in every checkpoint but runs only where the channel counts differ.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = Conv(in_channels, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = Conv(half, half, 3)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv3 = Conv(half, out_channels)
        self.skip_layer = Conv(in_channels, out_channels)
        self.needs_skip = in_channels != out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, S, S) to (N, out, S, S)."""
        out = self.conv1(functional.relu(self.bn1(x)))
        out = self.conv2(functional.relu(self.bn2(out)))
        out = self.conv3(functional.relu(self.bn3(out)))
        return torch.add(out, self.skip_layer(x) if self.needs_skip else x)


class Hourglass(nn.Module):
    """Down to the smallest map and up again, with a branch kept at every size."""

    def __init__(self, depth: int, channels: int, coordconv: CoordConv | None = None) -> None:
        super().__init__()
        self.coordconv = coordconv
        self.up1 = ResBlock(channels, channels)
        self.low1 = ResBlock(channels, channels)
        self.low2 = Hourglass(depth - 1, channels) if depth > 1 else ResBlock(channels, channels)
        self.low3 = ResBlock(channels, channels)

    def forward(self, x: Tensor, heat: Tensor | None = None) -> Tensor:
        """(N, C, S, S) to the same shape; `heat` is the stack before's, None for the first."""
        if self.coordconv is not None:
            x = self.coordconv(x, heat)
        low = self.low3(self.low2(self.low1(functional.max_pool2d(x, 2))))
        return torch.add(self.up1(x), functional.interpolate(low, scale_factor=2.0, mode="nearest"))


class StackedHourglass(nn.Module):
    """A picture to landmarks and their covariance, both in the crop's normalised frame."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        side = a.size // STEM_STRIDE
        stem = CoordConv(3, a.stem, side=a.size, kernel=7, stride=2, batch_norm=True)
        self.pre = nn.Sequential(
            stem,
            ResBlock(a.stem, 2 * a.stem),
            nn.MaxPool2d(2),
            ResBlock(2 * a.stem, 2 * a.stem),
            ResBlock(2 * a.stem, a.channels),
        )
        self.hgs = nn.ModuleList(
            Hourglass(
                a.depth,
                a.channels,
                CoordConv(a.channels, a.channels, side=side, boundary=index > 0),
            )
            for index in range(a.stacks)
        )
        self.features = nn.ModuleList(
            nn.Sequential(
                ResBlock(a.channels, a.channels), Conv(a.channels, a.channels, norm_relu=True)
            )
            for _ in range(a.stacks)
        )
        self.out_heatmaps = self._heads(a.channels, a.points, a.stacks)
        self.out_edgemaps = self._heads(a.channels, a.contours, a.stacks)
        self.out_pointmaps = self._heads(a.channels, a.points, a.stacks)
        self.merge_features = self._heads(a.channels, a.channels, a.stacks - 1)
        self.merge_heatmaps = self._heads(a.points, a.channels, a.stacks - 1)
        self.merge_edgemaps = self._heads(a.contours, a.channels, a.stacks - 1)
        self.merge_pointmaps = self._heads(a.points, a.channels, a.stacks - 1)
        self.e2h_transform = EdgeToHeatmap(a.points, a.contours)

    @staticmethod
    def _heads(in_channels: int, out_channels: int, count: int) -> nn.ModuleList:
        return nn.ModuleList(Conv(in_channels, out_channels) for _ in range(count))

    def stacks(self, image: Tensor) -> list[StackMaps]:
        """Run every stack and keep what each says.

        Args:
            image: (N, 3, S, S) float, BGR, x / 127.5 - 1.
        """
        x = self.pre(image)
        said: list[StackMaps] = []
        for index in range(self.architecture.stacks):
            features = self.features[index](self.hgs[index](x, said[-1].heat if said else None))
            heat = functional.relu(
                functional.instance_norm(self.out_heatmaps[index](features), eps=1e-5)
            )
            point = torch.sigmoid(self.out_pointmaps[index](features))
            edge = torch.sigmoid(self.out_edgemaps[index](features))
            said.append(StackMaps(heat, point, edge, self.e2h_transform(edge) * point * heat))
            if index + 1 < self.architecture.stacks:
                x = (
                    x
                    + self.merge_features[index](features)
                    + self.merge_heatmaps[index](heat)
                    + self.merge_pointmaps[index](point)
                    + self.merge_edgemaps[index](edge)
                )
        return said

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) to landmarks (N, P, 2) and covariance (N, P, 3) of the last stack."""
        return soft_argmax(self.stacks(image)[-1].fused)


def with_constant_maps(network: StackedHourglass) -> StackedHourglass:
    """Replace every CoordConv by its constant-map form, in place; the function stays the same."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, CoordConv):
                setattr(parent, name, ConstantMapCoordConv(child))
    return network
