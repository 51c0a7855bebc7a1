"""Converted networks beside numbers computed by the published ones, and every manifest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import pytest
import torch
from golden_files import (
    FOLDER,
    assert_output,
    checkpoint,
    manifest,
    manifests,
    network_input,
    outputs,
)

from heatpoint.convert import LAYOUTS, convert
from heatpoint.convert.layout import Layout, fit
from heatpoint.convert.layouts import named
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError
from heatpoint.networks import MapSpec, Network
from heatpoint.networks.deformable import AggregationNeck
from heatpoint.networks.features import TimmBackbone
from heatpoint.networks.heads import MapHeads

CORNERS = ("top_left", "bottom_right")
CORNER_MAPS = [corner + part for part in ("", "_embedding", "_offset") for corner in CORNERS]
CORNER_MAPS += ["center", "center_offset"]
ATTENTION = ["attention_large", "attention_medium", "attention_small"]
XY = {
    "heatmap": "hm",
    "size": "wh",
    "offset": "reg",
    "displacement": "hps",
    "joint_heatmap": "hm_hp",
    "joint_offset": "hp_offset",
}
DENSE = {"heatmap": "0", "size": "1", "offset": "2"}
PPRP = {"heatmap": "0.0", "offset": "0.1", "size": "0.2"}


class Family(NamedTuple):
    """How the outputs of the networks of one publisher are stored.

    Attributes:
        name: What the networks' names are like.
        key: Name in the file of a map of a stack.
        channels: Order of the colours of the input.
        stacks: Which stacks are stored; "together" is all of them in one array.
        probabilities: The heatmap is stored after the sigmoid.
        dead: What the names of tensors without use are like.
    """

    name: str
    key: Callable[[int, str], str]
    channels: Literal["bgr", "rgb"]
    stacks: Literal["last", "every", "together"]
    probabilities: bool = False
    dead: str | None = None


FAMILIES = [
    Family(
        r"(cornernet_hourglass|triplets_centernet)\d+",
        lambda _, n: f"{CORNER_MAPS.index(n)}",
        "bgr",
        "last",
    ),
    Family(
        r"cornernet_(lite_port_.*|squeeze)", lambda _, n: f"0.{CORNER_MAPS.index(n)}", "bgr", "last"
    ),
    Family(
        r"cornernet_saccade",
        lambda _, n: f"1.{ATTENTION.index(n)}" if n in ATTENTION else f"0.{CORNER_MAPS.index(n)}",
        "bgr",
        "last",
    ),
    Family(r"mmdet_cornernet_.*", lambda s, n: f"{CORNER_MAPS.index(n)}.{s}", "rgb", "every"),
    Family(
        r"xy_(ctdet|multi_pose)_.*|bubbliiiing_hourglass_.*",
        lambda s, n: f"{s}.{XY[n]}",
        "bgr",
        "every",
        dead=r"base\.(fc|level[34]\.project)\..*",
    ),
    Family(r"mmdet_centernet_.*", lambda _, n: f"{DENSE[n]}.0", "rgb", "last", probabilities=True),
    Family(r"bubbliiiing_resnet.*", lambda _, n: DENSE[n], "bgr", "last", probabilities=True),
    Family(r"pprp_.*", lambda _, n: PPRP[n], "bgr", "last"),
    Family(r"ttfnet_.*", lambda _, n: {"heatmap": "0", "sides": "1"}[n], "rgb", "last"),
    Family(r"mmpose_.*", lambda *_: "0", "rgb", "last", dead=r"backbone\.inters\.0\..*"),
    Family(r"bearpaw_.*", lambda s, _: str(s), "rgb", "every"),
    Family(r"princeton_.*", lambda *_: "", "rgb", "together", dead=r".*\.skip_layer\.conv\..*"),
]

DATA_SETS = r"_(coco|voc|pascal|mpii)"

SAME_TENSORS = {"bubbliiiing_hourglass_coco"}
"""Layouts that must be asked for by name, since another one has the same tensors."""

SLOW_WEIGHTS = 60_000_000
QUICK = {"pprp_small_hourglass_80", "triplets_centernet52"}
"""The others of this size have twice the weights, or the same ones."""


def layout_of(name: str) -> tuple[str, Layout] | None:
    """Returns the layout of a manifest, whatever data it was trained on; None for none of ours."""
    own = [name, *(re.sub(DATA_SETS, f"_{data}", name) for data in ("coco", "voc", "mpii"))]
    for each in own:
        layout = LAYOUTS.get(each) or named(each)
        if layout is not None:
            return each, layout
    return None


@pytest.mark.parametrize("name", manifests())
def test_every_published_tensor_has_its_place_or_the_file_is_refused(name: str) -> None:
    with torch.device("meta"):
        tensors = {key: torch.zeros(shape) for key, shape in manifest(name).items()}
    known = layout_of(name)
    if known is None:
        with pytest.raises(HeatpointError, match="the checkpoint has none of the layouts tried"):
            convert(tensors)
        return
    found = fit(known[1], tensors)
    assert found.missing == ()
    assert found.strange == ()
    classes = known[1].classes(tensors)
    expected = known[1].expected(classes)
    assert {key: tuple(tensors[key].shape) for key in expected} == dict(expected)
    assert len(set(expected)) == len(expected)


def networks() -> list[str]:
    return [
        name
        for name in manifests()
        if layout_of(name) and (FOLDER / "networks" / f"{name}.npz").exists()
    ]


def marked(name: str) -> object:
    weights = sum(math.prod(shape) for shape in manifest(name).values())
    slow = weights > SLOW_WEIGHTS and name not in QUICK
    return pytest.param(name, marks=pytest.mark.slow) if slow else name


@pytest.mark.parametrize("name", [marked(name) for name in networks()])
def test_converted_networks_compute_the_published_numbers(name: str) -> None:
    known = layout_of(name)
    assert known is not None
    (family,) = (family for family in FAMILIES if re.fullmatch(family.name, name))
    tensors = checkpoint(name)
    published = set(known[1].expected(known[1].classes(tensors)))
    unused = [key for key in tensors if key not in published]
    detector = convert(tensors, known[0] if known[0] in SAME_TENSORS else "auto")
    del tensors
    assert detector.meta["layout"] == known[0]
    assert sorted(detector.meta["unused"]) == sorted(unused)
    assert all(family.dead and re.fullmatch(family.dead, key) for key in unused)

    network, expected = detector.network, outputs(name)
    image = network_input(expected)
    if family.channels == "bgr":
        image = image.flip(1)
    mean, std = network.mean[:, None, None], network.std[:, None, None]
    with torch.no_grad():
        stacks = network(image * std + mean)
    if family.stacks == "together":
        (map_name,) = stacks[0]
        every = torch.stack([stack[map_name] for stack in stacks], 1)
        assert_output(every, expected, family.key(0, map_name))
        return
    for number, stack in enumerate(stacks):
        if family.stacks == "every" or number == len(stacks) - 1:
            for map_name, values in stack.items():
                heat = (family.probabilities and map_name == "heatmap") or map_name in ATTENTION
                key = family.key(number, map_name)
                if map_name == "sides":
                    values = detector.codec.unit * values.relu()  # type: ignore[attr-defined]
                assert_output(values.sigmoid() if heat else values, expected, key)
    if family.stacks == "every":
        following = {family.key(len(stacks), map_name) for map_name in stacks[0]}
        assert not any(f"{key}|shape" in expected for key in following)


def test_the_trunk_and_neck_of_dla_compute_the_published_numbers_under_other_heads() -> None:
    name = "xy_ddd_kitti_dla_34"
    tensors, expected = checkpoint(name), outputs(name)
    specs = [
        MapSpec(key, len(tensors[f"{key}.2.bias"]))
        for key in (
            found[1]
            for found in (re.fullmatch(r"0\.(\w+)\|shape", each) for each in expected)
            if found
        )
    ]
    trunk = TimmBackbone("dla34", strides=(4, 8, 16, 32))
    neck = AggregationNeck(trunk.channels)
    network = Network(trunk, neck, MapHeads(neck.out_channels, specs, width=256), stride=4)
    layout = LAYOUTS["xy_ctdet_coco_dla_34"]
    state = network.double().eval().state_dict()
    own = {key: tensors[layout.published(key)] for key in state if key not in ("mean", "std")}
    network.load_state_dict(own, strict=False)
    with torch.no_grad():
        maps = network.heads(network.neck(network.backbone(network_input(expected))))
    for key, values in maps.items():
        assert_output(values, expected, f"0.{key}")


def test_hourglasses_of_joints_find_those_of_mpii() -> None:
    for name in networks():
        match = re.fullmatch(r"(bearpaw_hg|princeton.*_)(\d+)(_b1|hg)_mpii", name)
        if match and int(match[2]) <= 2:
            detector = convert(checkpoint(name))
            kind = "hourglass" if match[1].startswith("bearpaw") else "princeton_hourglass"
            assert detector.meta["architecture"] == f"{kind}_{match[2]}stack"
            assert (detector.names, detector.skeleton) == (("person",), SKELETONS["mpii16"])


def test_class_counts_follow_the_heatmap() -> None:
    layout = LAYOUTS["mmdet_cornernet_hourglass104"]
    assert layout.classes({layout.heatmap: torch.zeros(3, 256, 1, 1)}) == 3
    assert re.fullmatch(r"bbox_head\.tl_heat\..*", layout.heatmap)
