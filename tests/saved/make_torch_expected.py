"""Makes ``torch_expected.npz``: layers of ``ncps.torch`` with random weights, and what they give for random inputs.

It needs torch and ncps, in an environment of its own, and was run once from the root of the repository, with torch
2.13.0 (CPU) and ncps 1.0.1, as ``python tests/saved/make_torch_expected.py``. ``inputs`` and ``timespans`` are common
to all cases. A case has ``case/outputs`` (batch, steps, units), some have ``case/irregular_outputs`` at the
timespans, and ``case/weights`` is one vector of the state_dict, because hundreds of tiny arrays would be mostly
headers: ``layout``, in JSON, says of each case which names and shapes follow each other in it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from ncps.torch import LTC, CfC
from ncps.wirings import AutoNCP

FEATURES = 4
BACKBONE = {"backbone_units": 6, "backbone_layers": 2}
CASES = {
    "ltc-wired": lambda: LTC(FEATURES, AutoNCP(12, 2)),
    "ltc-dense": lambda: LTC(FEATURES, 5),
    "ltc-wired-mixed": lambda: LTC(FEATURES, AutoNCP(12, 2), mixed_memory=True),
    "ltc-dense-mixed": lambda: LTC(FEATURES, 5, mixed_memory=True),
    "ltc-explicit": lambda: LTC(FEATURES, 5, implicit_param_constraints=False),
    "ltc-unmapped": lambda: LTC(FEATURES, 5, input_mapping="linear", output_mapping=None),
    "cfc-default": lambda: CfC(FEATURES, 5, mode="default", **BACKBONE),
    "cfc-pure": lambda: CfC(FEATURES, 5, mode="pure", **BACKBONE),
    "cfc-no_gate": lambda: CfC(FEATURES, 5, mode="no_gate", **BACKBONE),
    "cfc-wired": lambda: CfC(FEATURES, AutoNCP(12, 2), proj_size=3),
    "cfc-wired-mixed": lambda: CfC(FEATURES, AutoNCP(12, 2), mixed_memory=True),
    "cfc-dense-mixed": lambda: CfC(FEATURES, 5, mixed_memory=True, backbone_units=6),
}
IRREGULAR = ("ltc-wired", "ltc-dense-mixed", "cfc-default", "cfc-pure", "cfc-wired", "cfc-wired-mixed")


def randomise(layer: torch.nn.Module) -> None:
    """Moves all weights, also below zero before a softplus, to short binary fractions."""
    for name, parameter in layer.named_parameters():
        if parameter.requires_grad:
            width = 1.0 if name.endswith((".w", "sensory_w", "gleak", "cm")) else 0.3
            parameter.data += width * torch.randn_like(parameter)
            parameter.data = torch.round(parameter.data * 256) / 256
    if isinstance(layer, LTC):
        layer.rnn_cell.apply_weight_constraints()


def run_irregular(layer: torch.nn.Module, inputs: torch.Tensor, timespans: torch.Tensor) -> torch.Tensor:
    """Processes one sequence at a time: ncps broadcasts the times of a batch over neurons instead of sequences."""
    outputs = [layer(inputs[i : i + 1], timespans=timespans[i : i + 1])[0] for i in range(len(inputs))]
    return torch.cat(outputs)


def main() -> None:
    torch.manual_seed(0)
    inputs, timespans = torch.randn(3, 5, FEATURES), 0.1 + 2 * torch.rand(3, 5)
    arrays, layout = {"inputs": inputs, "timespans": timespans}, {}
    for case, make_layer in CASES.items():
        layer = make_layer()
        randomise(layer)
        weights = layer.state_dict()
        layout[case] = {name: list(value.shape) for name, value in weights.items()}
        with torch.no_grad():
            arrays[f"{case}/weights"] = torch.cat([value.flatten() for value in weights.values()])
            arrays[f"{case}/outputs"] = layer(inputs)[0]
            if case in IRREGULAR:
                arrays[f"{case}/irregular_outputs"] = run_irregular(layer, inputs, timespans)
    stored = {name: value.numpy() for name, value in arrays.items()}
    path = Path(__file__).with_name("torch_expected.npz")
    np.savez_compressed(path, layout=np.array(json.dumps(layout)), **stored)


if __name__ == "__main__":
    main()
