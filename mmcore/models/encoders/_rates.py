"""How fast the parts of an encoder learn: which are frozen, and how much slower the lower layers are.

An encoder's attribute `rates` holds a factor on the learning rate for parameters by name, 0 where they are frozen; the
model gathers them and the optimiser goes by them. What has no factor learns at the full rate.
"""

from torch import nn

TRAINED = ("all", "last", "none")


def rates(part: nn.Module, layers: nn.ModuleList, *, train: str, layer_decay: float) -> dict[str, float]:
    """The factor of each parameter of `part`, whose `layers` come one after the other, by name.

    `train`: all, last (only the last layer and what follows it) or none (Zhai et al. 2022, locked tuning). What is
    trained below k layers has the factor `layer_decay`^k (Clark et al. 2020, ELECTRA). ValueError for another `train`.
    """
    if train not in TRAINED:
        raise ValueError(f"train is '{train}'; choose one of: {', '.join(TRAINED)}")
    number_of = {id(weight): number for number, layer in enumerate(layers) for weight in layer.parameters()}
    found, number = {}, -1  # what comes before the first layer lies below all of them, what comes after the last above
    for name, weight in part.named_parameters():
        number = number_of.get(id(weight), -1 if number < 0 else len(layers) - 1)
        trained = train == "all" or (train == "last" and number == len(layers) - 1)
        found[name] = layer_decay ** (len(layers) - 1 - number) if trained else 0.0
    return found
