"""The network as it is exported: the same function in fewer or better fitting operations.

Each rewrite is equal but for the rounding of floats, and is made on a copy: the network that was
given, and with it the checkpoint's own form, stays as it was. What is composed of several weights
is composed in float64 and rounded once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence

import runtime.network  # noqa: F401  # holds torch's device autoload back; must come first

# isort: split
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.config import REWRITES, Rewrite
from runtime.network.coord_conv import (
    BOUNDARY_CHANNELS,
    BOUNDARY_THRESHOLD,
    COORDINATE_CHANNELS,
    CoordConv,
)
from runtime.network.hourglass import Conv, Hourglass, ResBlock, StackedHourglass


def inference_form(
    network: StackedHourglass, rewrites: Collection[Rewrite] = REWRITES
) -> StackedHourglass:
    """Rewrite a network in evaluation mode.

    Args:
        network: in the checkpoint's form; it is not changed.
        rewrites: which, in any order.

    Returns:
        A network of its own, with the same stages.
    """
    form = copy.deepcopy(network)
    for name in REWRITES:
        if name in rewrites:
            _REWRITES[name](form)
    return form


def _fold_batch_norm(form: StackedHourglass) -> None:
    """Fold the stem's batch norm into its convolution, coordinate channels included.

    onnxsim folds the others, but stops at this one, behind which the constant map is added.
    """
    stem = form.pre[0]
    if isinstance(stem, CoordConv) and isinstance(stem.bn, nn.BatchNorm2d):
        stem.conv = _conv(*_normed(stem.conv, stem.bn), like=stem.conv)
        stem.bn = nn.Identity()  # the ReLU stays


def _use_coordinate_planes(form: StackedHourglass) -> None:
    """Convolve the hourglasses' coordinate planes apart from the picture's channels."""
    for module in form.hgs:
        if isinstance(module, Hourglass) and isinstance(module.coordconv, CoordConv):
            # a module of another class in the place of one
            setattr(module, "coordconv", PlaneCoordConv(module.coordconv))  # noqa: B010


def _compose_features(form: StackedHourglass) -> None:
    """Compose the end of each `features` block with the convolution that follows it."""
    composed: list[nn.Module] = []
    for block, conv in (one.children() for one in form.features):
        if isinstance(block, ResBlock) and isinstance(conv, Conv):
            composed.append(ComposedFeatures(block, conv))
    form.features = nn.ModuleList(composed)


def _use_one_merge(form: StackedHourglass) -> None:
    """Merge the three kinds of maps by one convolution over all their channels.

    The merge of the features stays separate: joining it would copy all of them.
    """
    form.merge_maps = nn.ModuleList(_side_by_side(convs) for convs in _per_stack(form.merges))


def _use_one_head(form: StackedHourglass) -> None:
    """Make the three kinds of maps by one convolution, and split what it gives."""
    form.out_maps = nn.ModuleList(_stacked(convs) for convs in _per_stack(form.heads))


class PlaneCoordConv(nn.Module):
    """A CoordConv as two convolutions: of the picture's channels, and of the coordinate planes.

    A constant map instead, added behind the convolution, is as large as the map it is added to and
    costs as much as reading it; onnxruntime also leaves its blocked layout for it.

    Attributes:
        conv: over the channels of x.
        plane_conv: over xx, yy, rr and, where boundary is on, the two boundary planes.
        batch: zeros of x's batch, for the first stack; see `_planes`.
    """

    on: Tensor
    off: Tensor

    def __init__(self, source: CoordConv) -> None:
        super().__init__()
        weight, first = source.conv.weight.detach(), source.in_channels
        self.conv = _conv(weight[:, :first], source.conv.bias, like=source.conv)
        self.plane_conv = _conv(weight[:, first:], None, like=source.conv)
        self.boundary = source.boundary
        boundary = source.planes[:, :BOUNDARY_CHANNELS]
        off = [source.planes, torch.zeros_like(boundary)] if self.boundary else [source.planes]
        on = [source.planes, boundary] if self.boundary else [source.planes]
        self.register_buffer("on", torch.cat(on, dim=1))
        self.register_buffer("off", torch.cat(off, dim=1))
        if not self.boundary:
            zeros = torch.zeros(COORDINATE_CHANNELS, first, 1, 1)
            self.batch = _conv(zeros, None)

    def forward(self, x: Tensor, heat: Tensor | None = None) -> Tensor:
        """As `CoordConv.forward`."""
        return torch.add(self.conv(x), self.plane_conv(self._planes(x, heat)))

    def _planes(self, x: Tensor, heat: Tensor | None) -> Tensor:
        """The planes once for each picture, without an operator that reads the batch's size."""
        if self.boundary and heat is not None:
            gate = torch.clamp(heat[:, -1:], 0.0, 1.0) > BOUNDARY_THRESHOLD
            return torch.where(gate, self.on, self.off)
        return torch.add(self.batch(x), self.on)


class ComposedFeatures(nn.Sequential):
    """`features` with the block's last convolution composed with the one behind it.

    conv(conv3(r) + x) = (W W3) r + W x, with r what enters the block's last convolution. As many
    multiplications, but the two convolutions no longer wait for each other.
    """

    def __init__(self, block: ResBlock, conv: Conv) -> None:
        super().__init__(Bottleneck(block))
        assert conv.bn is not None  # noqa: S101  # `features` is so
        weight, bias = _normed(conv.conv, conv.bn)
        last = block.conv3.conv
        assert last.bias is not None  # noqa: S101  # every convolution of the network has one
        of_block = weight.flatten(1) @ last.weight.detach().double().flatten(1)
        bias = bias + weight.flatten(1) @ last.bias.detach().double()
        self.from_block = _conv(of_block[:, :, None, None], None)
        self.from_input = _conv(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) to the same shape."""
        return functional.relu(self.from_block(self[0](x)) + self.from_input(x))


class Bottleneck(nn.Module):
    """A ResBlock without its last convolution and sum; its modules keep their names."""

    def __init__(self, block: ResBlock) -> None:
        super().__init__()
        self.bn1, self.conv1 = block.bn1, block.conv1
        self.bn2, self.conv2 = block.bn2, block.conv2
        self.bn3 = block.bn3

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) to (N, C / 2, S, S)."""
        x = self.conv1(functional.relu(self.bn1(x)))
        x = self.conv2(functional.relu(self.bn2(x)))
        return functional.relu(self.bn3(x))


_REWRITES: dict[Rewrite, Callable[[StackedHourglass], None]] = {
    "batch_norms": _fold_batch_norm,
    "coordinates": _use_coordinate_planes,
    "features": _compose_features,
    "merges": _use_one_merge,
    "heads": _use_one_head,
}


def _per_stack(kinds: Sequence[nn.ModuleList]) -> list[list[nn.Conv2d]]:
    return [[one.conv for one in convs] for convs in zip(*kinds, strict=True)]


def _side_by_side(convs: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """The sum of several 1x1 convolutions, as one over all their inputs."""
    weight = torch.cat([conv.weight for conv in convs], dim=1)
    biases = [conv.bias.double() for conv in convs if conv.bias is not None]
    return _conv(weight, torch.stack(biases).sum(dim=0))


def _stacked(convs: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """Several 1x1 convolutions of one input, as one that gives all their outputs."""
    biases = [conv.bias for conv in convs if conv.bias is not None]
    return _conv(torch.cat([conv.weight for conv in convs]), torch.cat(biases))


def _normed(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with its batch norm folded in, float64."""
    assert bn.running_mean is not None  # noqa: S101  # all of the network's track both
    assert bn.running_var is not None  # noqa: S101  # likewise
    assert conv.bias is not None  # noqa: S101  # every convolution of the network has one
    scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    weight = conv.weight.double() * scale[:, None, None, None]
    bias = (conv.bias.double() - bn.running_mean.double()) * scale + bn.bias.double()
    return weight.detach(), bias.detach()


def _conv(weight: Tensor, bias: Tensor | None, like: nn.Conv2d | None = None) -> nn.Conv2d:
    """A convolution of these numbers in float32, with another's stride."""
    out_channels, in_channels, kernel, _ = weight.shape
    stride = 1 if like is None else like.stride[0]
    made = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=(kernel - 1) // 2,
        bias=bias is not None,
    )
    made.weight = nn.Parameter(weight.detach().float())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().float())
    return made.eval()
