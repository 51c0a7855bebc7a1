"""What is said about a checkpoint that fits no layout: the nearest one, and where they differ."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from golden_files import manifest
from torch import Tensor

from heatpoint.convert import LAYOUTS, convert
from heatpoint.errors import HeatpointError

DATA = re.compile(r"_(mpii|coco),")

NAMES = [
    "xy_ctdet_coco_res_18",
    "bubbliiiing_resnet50_voc",
    "xy_ctdet_coco_hourglass",
    "pprp_small_hourglass_80",
    "cornernet_hourglass104",
    "cornernet_lite_port_hourglass104",
    "mmdet_cornernet_hourglass104",
    "mmpose_hourglass52_mpii",
    "bearpaw_hg2_b1_mpii",
    "princeton_pytorch_stacked_hourglass_2hg_mpii",
    "ttfnet_r18",
    "triplets_centernet52",
]

every_layout = pytest.mark.parametrize("name", NAMES)


def shaped(name: str) -> dict[str, Tensor]:
    """Returns tensors without values, of the names and shapes of a published file."""
    with torch.device("meta"):
        return {key: torch.zeros(shape) for key, shape in manifest(name).items()}


def complaint(tensors: dict[str, Tensor], layout: str = "auto") -> str:
    """Returns what is said about a checkpoint, behind the list of the layouts that were tried."""
    with pytest.raises(HeatpointError) as caught:
        convert(tensors, layout)
    start, rest = str(caught.value).split("layouts tried (", 1)
    tried, rest = rest.split(")", 1)
    assert start == "the checkpoint has none of the "
    assert tried == layout or int(tried.removeprefix("all ")) >= len(LAYOUTS)
    return rest


def counted(tensors: dict[str, Tensor], name: str) -> int:
    """Returns how many tensors the layout expects, without counters of batch norms."""
    heatmap = tensors[LAYOUTS[name].heatmap]
    expected = LAYOUTS[name].expected(heatmap.shape[0])
    assert len(expected) <= len(tensors)
    return sum(not key.endswith("num_batches_tracked") for key in expected)


@every_layout
def test_a_renamed_tensor(name: str) -> None:
    tensors = shaped(name)
    total = counted(tensors, name)
    # Without the last weight of the heatmap its bias must tell how many classes there are.
    for key in (LAYOUTS[name].first, LAYOUTS[name].heatmap):
        renamed = {("own." + k if k == key else k): tensor for k, tensor in tensors.items()}
        expected = (
            f"; the nearest is {name}, of which {total - 1} of {total} tensors agree: "
            f"missing {key}; unexpected own.{key}"
        )
        # Without the last weight nothing tells what a pose network was trained on.
        said, expected = (DATA.sub(",", text) for text in (complaint(renamed), expected))
        assert said == expected


@every_layout
def test_a_tensor_of_another_shape(name: str) -> None:
    tensors = shaped(name)
    key = LAYOUTS[name].first
    shape = list(tensors[key].shape)
    tensors[key] = torch.zeros(shape[0], 4, *shape[2:], device="meta")
    said = complaint(tensors)
    assert f"; the nearest is {name}, of which " in said
    found = [shape[0], 4, *shape[2:]]
    assert said.endswith(f" tensors agree: of another shape {key} {found} instead of {shape}")


@pytest.mark.parametrize(
    ("foreign", "nearest", "differences"),
    [
        ("resnet18", "xy_ctdet_coco_res_18", "missing deconv_layers.0.weight, "),
        ("resnet50", "xy_ctdet_coco_res_50", "missing deconv_layers.0.weight, "),
        ("resnet152", "xy_ctdet_coco_res_152", "missing deconv_layers.0.weight, "),
    ],
)
def test_a_classifier_is_near_the_detector_with_its_backbone(
    foreign: str, nearest: str, differences: str
) -> None:
    with torch.device("meta"):
        tensors = torchvision.models.get_model(foreign, weights=None).state_dict()
    said = complaint(tensors)
    assert f"; the nearest is {nearest}, of which " in said
    assert differences in said
    # Five of them, and how many more: a message is no manifest.
    assert len(said.split("missing ")[1].split(", ")) == 5
    assert " more" in said
    assert "unexpected" not in said  # the classifier's own layer stands in nobody's way


@pytest.mark.parametrize("foreign", ["mobilenet_v2", "vit_b_16"])
def test_a_stranger_is_near_nothing(foreign: str) -> None:
    with torch.device("meta"):
        tensors = torchvision.models.get_model(foreign, weights=None).state_dict()
    first, tensor = next(iter(tensors.items()))
    said = complaint(tensors)
    assert said.startswith(f", not even a tensor of one; it has {first} {list(tensor.shape)}, ")
    assert said.endswith(f" and {len(tensors) - 5} more")


def test_a_few_tensors_are_near_what_has_them() -> None:
    tensors = shaped("cornernet_hourglass104")
    some = {key: tensor for key, tensor in tensors.items() if key.startswith("tl_")}
    assert "; the nearest is cornernet_hourglass104, of which " in complaint(some)


def test_a_layout_by_name_is_the_only_one_tried() -> None:
    said = complaint(shaped("xy_ctdet_coco_res_18"), "xy_ctdet_coco_res_34")
    assert "; the nearest is xy_ctdet_coco_res_34, of which " in said
    assert "missing layer1.2.conv1.weight, " in said


@pytest.mark.parametrize(
    ("given", "layout"),
    [("ttfnet_r18", "xy_ctdet_coco_res_18"), ("xy_ctdet_coco_res_18", "ttfnet_r18")],
)
def test_a_file_of_another_system_is_told_by_its_own_layout(given: str, layout: str) -> None:
    assert complaint(shaped(given), layout).endswith(f"; it has the layout {given}")
