"""The stacked hourglass with point, contour and heat maps.

Attribute names obey the published checkpoint's keys before they obey us (`hgs`, `low2`, `bn1`,
`skip_layer`, ...): renaming one breaks loading.

Source: "STAR Loss: Reducing Semantic Ambiguity in Facial Landmark Detection",
https://arxiv.org/abs/2306.02763, and "Stacked Hourglass Networks for Human Pose Estimation",
https://arxiv.org/abs/1603.06937.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES, Architecture
from runtime.model.stages import STEM_STRIDE, Stage, stages_of
from runtime.network.coord_conv import ConstantMapCoordConv, CoordConv
from runtime.network.soft_argmax import soft_argmax


class Conv(nn.Module):
    """A convolution with bias, and batch norm and ReLU where asked."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        norm_relu: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2)
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


class EdgeToHeatmap(nn.Module):
    """Spread each contour's map over the points that lie on it.

    Weight (P, E, 1, 1) holds 1 where point p lies on contour e; bias (P,) is 1 for a point on no
    contour, so that the product it gates is left as it is. Both are buffers of the checkpoint, not
    parameters.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, points: int, contours: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(points, contours, 1, 1))
        self.register_buffer("bias", torch.ones(points))

    def forward(self, edges: Tensor) -> Tensor:
        """(N, E, S, S) contour maps in [0, 1] to (N, P, S, S)."""
        return functional.conv2d(edges, self.weight, self.bias)


class StackedHourglass(nn.Module):
    """A picture to landmarks and their covariance, both in the crop's normalised frame.

    Attributes:
        stages: what it runs, in order.
        gives: names of the tensors that `forward` returns; an exporter adds the taps.
        out_maps: None but in an inference form, there the three heads of a stack as one.
        merge_maps: None but in an inference form, there the three merges of maps as one.
    """

    out_maps: nn.ModuleList | None
    merge_maps: nn.ModuleList | None

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.stages = stages_of(a.stacks, contours=a.has_contours)
        self.gives: tuple[str, ...] = OUTPUT_NAMES
        side = a.size // STEM_STRIDE
        stem = (
            CoordConv(3, a.stem, side=a.size, kernel=7, stride=2, batch_norm=True)
            if a.has_coordinates
            else Conv(3, a.stem, 7, stride=2, norm_relu=True)
        )
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
                CoordConv(a.channels, a.channels, side=side, boundary=index > 0)
                if a.has_coordinates
                else None,
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
        if a.has_contours:
            self.out_edgemaps = self._heads(a.channels, a.contours, a.stacks)
            self.out_pointmaps = self._heads(a.channels, a.points, a.stacks)
        self.merge_features = self._heads(a.channels, a.channels, a.stacks - 1)
        self.merge_heatmaps = self._heads(a.points, a.channels, a.stacks - 1)
        if a.has_contours:
            self.merge_edgemaps = self._heads(a.contours, a.channels, a.stacks - 1)
            self.merge_pointmaps = self._heads(a.points, a.channels, a.stacks - 1)
            self.e2h_transform = EdgeToHeatmap(a.points, a.contours)
        self.out_maps = self.merge_maps = None

    @staticmethod
    def _heads(in_channels: int, out_channels: int, count: int) -> nn.ModuleList:
        return nn.ModuleList(Conv(in_channels, out_channels) for _ in range(count))

    def run_stage(self, stage: Stage, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run one stage alone.

        Args:
            stage: one of `stages`.
            inputs: in the order of `stage.inputs`.

        Returns:
            In the order of `stage.outputs`; all maps (N, channels, S / 4, S / 4).
        """
        index = stage.stack
        match stage.part:
            case "stem":
                made = self.pre(*inputs)
            case "hourglass":
                made = self.hgs[index](*inputs)
            case "features":
                made = self.features[index](*inputs)
            case "heatmaps":
                raw = self._head(self.out_heatmaps, index, *inputs)
                made = functional.relu(functional.instance_norm(raw, eps=1e-5))
            case "pointmaps":
                made = torch.sigmoid(self._head(self.out_pointmaps, index, *inputs))
            case "edgemaps":
                made = torch.sigmoid(self._head(self.out_edgemaps, index, *inputs))
            case "fused":
                heat, point, edge = inputs
                made = self.e2h_transform(edge) * point * heat
            case "merged":
                x, features, *maps = inputs
                made = x + self.merge_features[index](features)
                if self.merge_maps is not None:
                    made = made + self.merge_maps[index](torch.cat(maps, dim=1))
                else:
                    for merge, one in zip(self.merges, maps, strict=True):
                        made = made + merge[index](one)
            case _:
                return soft_argmax(*inputs)
        return (made,)

    @property
    def heads(self) -> tuple[nn.ModuleList, ...]:
        """What makes heatmaps, point maps and edge maps of features, a convolution a stack."""
        if not self.architecture.has_contours:
            return (self.out_heatmaps,)
        return self.out_heatmaps, self.out_pointmaps, self.out_edgemaps

    @property
    def merges(self) -> tuple[nn.ModuleList, ...]:
        """What takes the same maps into the next stack's input, a convolution a stack but one."""
        if not self.architecture.has_contours:
            return (self.merge_heatmaps,)
        return self.merge_heatmaps, self.merge_pointmaps, self.merge_edgemaps

    def _head(self, head: nn.ModuleList, index: int, features: Tensor) -> Tensor:
        """One head's maps before their activation, of its own or out of the one for all three."""
        if self.out_maps is None:
            raw: Tensor = head[index](features)
            return raw
        a = self.architecture
        widths = [a.points, a.points, a.contours][: len(self.heads)]
        place = next(place for place, one in enumerate(self.heads) if one is head)
        return torch.split(self.out_maps[index](features), widths, dim=1)[place]

    def tensors(self, image: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Run every stage, and keep what is asked for.

        Args:
            image: (N, 3, S, S) float, BGR, x / 127.5 - 1.
            names: outputs of `stages`.
        """
        alive = {INPUT_NAME: image}
        for index, stage in enumerate(self.stages):
            made = self.run_stage(stage, *(alive[name] for name in stage.inputs))
            alive.update(zip(stage.outputs, made, strict=True))
            # the maps of a batch of a full-size network are gigabytes: none outlives its use
            read = {name for later in self.stages[index + 1 :] for name in later.inputs}
            alive = {name: t for name, t in alive.items() if name in read or name in names}
        return {name: alive[name] for name in names}

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, S, S) to what `gives` names: landmarks (N, P, 2), covariance (N, P, 3), taps."""
        found = self.tensors(image, self.gives)
        return tuple(found[name] for name in self.gives)


def with_constant_maps(network: StackedHourglass) -> StackedHourglass:
    """Replace every CoordConv by its constant-map form, in place; the function stays the same."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, CoordConv):
                setattr(parent, name, ConstantMapCoordConv(child))
    return network
