"""Converted models (.om) through pyACL, on an Ascend NPU and nowhere else."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.backends.ascend.acl import AclFailure
from runtime.backends.ascend.loaded_model import HIDDEN_GEAR_INPUT, LoadedModel
from runtime.backends.ascend.process import (
    SharedDevice,
    at_exit,
    close_device,
    forget_device,
    not_at_exit,
    open_device,
    warn,
)
from runtime.backends.base import Backend, Outputs, Settings
from runtime.errors import ArtifactError, BackendUnavailable, ConfigError
from runtime.files import shown
from runtime.machine.soc import soc_of
from runtime.model.device import Device
from runtime.model.manifest import MANIFEST_NAME, OmFact
from runtime.model.om_file import read_om
from runtime.model.source import Artifact
from runtime.model.spec import ModelSpec

logger = logging.getLogger("starmark")


class OmBackend(Backend):
    """A bundle's converted models on one NPU; each file is loaded when a call first needs it.

    A batch that no file or gear holds is split; what is missing to the next one is padded, and the
    padding dropped. Calls from several threads take turns: one model serves one call at a time.
    """

    def __init__(self, artifact: Artifact, device: Device, settings: Settings) -> None:
        if artifact.manifest is None or not artifact.oms:
            raise ValueError("an .om is found together with its manifest")
        if settings.allow_hf32:
            raise ConfigError(
                "--allow-hf32",
                expected="a model run by torch_npu",
                got=f"{artifact.path.name}, whose precision was chosen at its conversion",
                action="Convert with --precision_mode_v2 instead",
            )
        if device.kind not in ("auto", "npu") or device.detail:
            raise BackendUnavailable(
                f"device '{device}'",
                expected="npu:N for an .om",
                got=f"'{device}'",
                action="Name npu:0, or the bundle's folder with @cpu for its ONNX",
            )
        index = device.number
        if settings.threads is not None:
            logger.warning(
                "WARNING: threads=%d has no effect on npu:%d: an .om runs on the device alone",
                settings.threads,
                index,
            )
        self.device = f"npu:{index}"
        self.manifest = artifact.manifest
        self.spec = msgspec.structs.replace(artifact.manifest.spec, input=artifact.oms[0].input)
        self.batches = tuple(sorted({size for om in artifact.oms for size in om.batches}))
        self.parameters = artifact.manifest.checkpoint.parameters
        self.checkpoint_sha256 = artifact.manifest.checkpoint.sha256
        self._session = _Session(artifact.path.parent, artifact.oms, self.spec, index)
        self.arithmetic = artifact.oms[0].precision
        self.name = f"pyACL {self._session.soc_version} {self.arithmetic}"
        # not __del__, which runs in an unknown order when the interpreter ends
        self._collected = weakref.finalize(self, self._session.release_loudly)
        self._collected.atexit = False
        at_exit(self._session.release_loudly)

    def _run(self, batch: NDArray[Any]) -> Outputs:
        session, where = self._session, f"{self.name} {self.device}"
        with session.lock:
            self._check_open()  # what another call did while this one waited for its turn
            try:
                return session.run(batch)
            except BaseException as error:
                if session.lost is not None:
                    self._lose_device(session.lost.translated(where))
                if isinstance(error, AclFailure):
                    raise self.lost_to or error.translated(where) from error
                raise

    def _close(self) -> None:
        self._collected.detach()
        failures = self._session.release()
        if failures and self._session.lost is None:
            raise failures[0].translated(f"{self.name} {self.device}: closing") from failures[0]


class _Session:
    """A device, and the models loaded on it so far. Released once, from any thread.

    Attributes:
        lost: the failure after which the device is of no more use; None while it is.
    """

    def __init__(self, folder: Path, oms: tuple[OmFact, ...], spec: ModelSpec, index: int) -> None:
        self.lock = threading.RLock()
        self.lost: AclFailure | None = None
        self._folder, self._spec = folder, spec
        self._by_size = {size: om for om in oms for size in om.batches}
        self._models: dict[str, LoadedModel] = {}
        self._device: SharedDevice | None = None
        self._process = os.getpid()
        try:
            self._device = open_device(index)
            self.soc_version = self._device.soc_version
            for om in oms:
                _check_chip(folder / om.file, om, self._device)
            with self._device.current():
                self._model_for(self._device, min(self._by_size))  # what cannot be loaded fails now
        except AclFailure as failure:
            if failure.loses_device and self._device is not None:
                forget_device(self._device)
            self.release()
            raise failure.translated(f"npu:{index}") from failure
        except BaseException:
            self.release()
            raise

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch of any size.

        Raises:
            AclFailure: a call failed; `lost` is set where the session is of no more use.
        """
        device = self._device
        if device is None:
            raise AclFailure("rt.set_context", 107002, "the device was closed")
        parts: list[dict[str, NDArray[np.float32]]] = []
        timings = {"h2d": 0.0, "compute": 0.0, "d2h": 0.0}
        try:
            with device.current():
                done = 0
                for size in plan(len(batch), sorted(self._by_size)):
                    model = self._model_for(device, size)
                    part, seconds = model.run(batch[done : done + size], size)
                    parts.append(part)
                    done += size
                    for stage, value in seconds.items():
                        timings[stage] += value
        except BaseException as error:
            self.lost = self._loss_in(error)
            if self.lost is not None:
                forget_device(device)
            raise
        joined = {
            name: np.concatenate([part[name] for part in parts]) if len(parts) > 1 else whole
            for name, whole in parts[0].items()
        }
        landmarks, covariance = (joined[name] for name in self._spec.outputs)
        taps = {name: joined[name] for name in self._spec.taps}
        return Outputs(landmarks=landmarks, covariance=covariance, timings=timings, taps=taps)

    def release(self) -> list[AclFailure]:
        """Release models and device, whatever fails on the way; returns the failures."""
        not_at_exit(self.release_loudly)
        with self.lock:
            device, self._device = self._device, None
            models, self._models = list(self._models.values()), {}
            if device is None or self._process != os.getpid():
                return []
            failures: list[AclFailure] = []
            with contextlib.ExitStack() as context:
                try:
                    context.enter_context(device.current())
                except AclFailure as failure:  # without it, what can be released still is
                    failures.append(failure)
                for model in reversed(models):
                    failures += model.release()
            return failures + close_device(device)

    def release_loudly(self) -> None:
        """Release, and log what fails: when collected, or when the process ends."""
        warn(self.release())

    def _loss_in(self, error: BaseException) -> AclFailure | None:
        """The failure that lost the device, where a run that ended so has lost it."""
        stuck = next((m.stuck for m in self._models.values() if m.stuck is not None), None)
        if isinstance(error, AclFailure) and (error.loses_device or stuck is not None):
            return AclFailure(*error.args)  # without its frames, which hold the batch
        return stuck

    def _model_for(self, device: SharedDevice, size: int) -> LoadedModel:
        om = self._by_size[size]
        if om.file not in self._models:
            logger.debug("loading %s", om.file)
            model = LoadedModel(device, self._folder / om.file)
            try:
                _check_model(self._folder / om.file, om, self._spec, model)
                model.prepare()
            except BaseException:
                model.release()
                raise
            self._models[om.file] = model
        return self._models[om.file]


def plan(pictures: int, sizes: list[int]) -> list[int]:
    """Split a call: the largest of the ascending sizes repeated, then one that holds the rest."""
    whole, rest = divmod(pictures, sizes[-1])
    chosen = [sizes[-1]] * whole
    if rest:
        chosen.append(next(size for size in sizes if size >= rest))
    return chosen


def _check_chip(path: Path, om: OmFact, device: SharedDevice) -> None:
    """Hold the file to the manifest, and both to the device, before anything is loaded."""
    inside = read_om(path)
    for one in inside.unread:
        logger.warning("WARNING: %s: not read: %s", shown(path), one)
    # models of CANN before 8.0 name no chip; the manifest's hash covers them all the same
    if inside.soc_version.lower() not in ("", om.soc_version.lower()):
        raise ArtifactError(
            str(path),
            expected=f"an .om for {om.soc_version}, as {MANIFEST_NAME} says",
            got=f"one for {inside.soc_version}",
            action="Make the bundle again with python -m export",
        )
    # newer CANN would load a model for another chip of the same architecture; it was tiled for
    # another number of cores, and older CANN refuses it with 507008
    if device.soc_version != om.soc_version:
        where = f"npu:{device.index}"
        chip = soc_of(device.soc_version, where, printed=True)
        raise ArtifactError(
            str(path),
            expected=f"an .om for this device, {where} {chip.name}",
            got=f"one for {om.soc_version}",
            action=f"Convert again: python -m export --om require --soc_version {chip.as_option}",
        )


def _check_model(path: Path, om: OmFact, spec: ModelSpec, model: LoadedModel) -> None:
    """Hold ACL's description of the loaded file to the manifest."""
    rows = -1 if om.gears else om.batches[0]
    points, expected = spec.points, spec.input
    first = model.inputs[0] if model.inputs else None
    found = {fact.name: (fact.dims[1:], fact.dtype) for fact in model.outputs}
    wanted: dict[str, tuple[int, ...]] = {
        name: (points, last) for name, last in zip(spec.outputs, (2, 3), strict=True)
    }
    wanted |= spec.taps
    hidden = [HIDDEN_GEAR_INPUT] if om.gears else []
    floats = (np.dtype(np.float32), np.dtype(np.float16))
    dtypes = (np.dtype(np.uint8),) if expected.dtype == "uint8" else floats
    good = (
        first is not None
        and [fact.name for fact in model.inputs] == [expected.name, *hidden]
        and all(fact.bytes > 0 for fact in model.inputs)
        and first.dims == (rows, *expected.shape(1)[1:])
        and first.dtype in dtypes
        and first.bytes >= first.row_bytes * max(om.batches)
        and found.keys() == wanted.keys()
        and all(found[n][0] == wanted[n] and found[n][1] in floats for n in wanted)
        and all(fact.bytes >= fact.row_bytes * max(om.batches) for fact in model.outputs)
        and model.gears == (om.batches if om.gears else ())
    )
    if not good:
        raise ArtifactError(
            str(path),
            expected=f"input {expected.name} {expected.dtype} {(rows, *expected.shape(1)[1:])},"
            f" outputs {wanted} in float, gears {om.batches if om.gears else ()}",
            got=f"inputs {model.inputs}, outputs {model.outputs}, gears {model.gears}",
            action="Make the bundle again with python -m export",
        )
