"""What a network's layers are, which takes none of its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from corrcore.features import Roles
from corrcore.geometry import ReceptiveField
from corrcore.networks import lookup, registry
from corrcore.networks.fitting import built, empty_module
from corrcore.networks.layers import find_layers, roles_of
from corrcore.networks.module_geometry import ModuleGeometry
from corrcore.networks.module_spec import ModuleSpec
from corrcore.networks.overlapping import patch_px
from corrcore.networks.seen import Unknown


@dataclass(frozen=True)
class LayerOverview:
    """A layer: how many numbers a descriptor has, where its cells lie, and which tasks take it by default.

    `measured` is whether the receptive field has no derivation and was measured.
    """

    name: str
    channels: int
    receptive_field: ReceptiveField
    measured: bool
    roles: tuple[str, ...]


def overview(spec: ModuleSpec) -> list[LayerOverview]:
    """All layers of a network by depth, whether its weights are here or not.

    Raises ValueError for a network that takes no images.

    >>> from corrcore import networks
    >>> overview(networks.spec("vgg16"))[0]
    LayerOverview(name='conv1_1', channels=64, receptive_field=ReceptiveField(size=3, stride=1, offset=0.0), \
measured=False, roles=())
    """
    model, empty = built(spec.builder, empty_module(spec.builder).state_dict())
    patch = None if spec.grid_stride is None else patch_px(empty)
    geometry = ModuleGeometry.of(empty, multiple=patch, train_px=spec.train_px)
    paths = dict(spec.layers) if spec.layers is not None else find_layers(model, geometry.traced)
    paths = {name: path for name, path in paths.items() if path in geometry.traced}
    if any(isinstance(geometry.traced[path].seen, Unknown) for path in paths.values()):
        model = spec.builder().eval().requires_grad_(False)  # which is measured, whatever its weights
    layers = geometry.layers(paths, model, empty)
    roles = spec.roles or roles_of({name: each.receptive_field.stride for name, each in layers.items()})
    return [
        LayerOverview(
            name,
            math.prod(
                side
                for n, side in enumerate(geometry.traced[each.path].shape)
                if n not in (0, each.places.y, each.places.x)
            ),
            each.receptive_field,
            each.measured,
            roles_by_layer(roles).get(name, ()),
        )
        for name, each in layers.items()
    ]


def roles_by_layer(roles: Roles) -> Mapping[str, tuple[str, ...]]:
    """The roles of each layer that has one."""
    found: dict[str, tuple[str, ...]] = {}
    for role in fields(roles):
        layers = getattr(roles, role.name)
        for layer in layers if isinstance(layers, tuple) else (layers,):
            found[layer] = (*found.get(layer, ()), role.name)
    return found


def weights_here(name: str) -> str:
    """Where a network's weights are on this machine, as far as can be told without reading them; empty if nowhere."""
    full = registry.full_name(name)
    if ":" in full and not lookup.may_be_here(registry.split_stride(full)[0]):
        return ""
    try:
        spec = registry.spec(full)
    except ValueError:  # of a library that is not installed
        return ""
    if not isinstance(spec, ModuleSpec):
        return "its own"
    path = lookup.locate(spec.sources)
    return "" if path is None else "embedded" if path == spec.embedded else str(path)
