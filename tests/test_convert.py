from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_files import checkpoint
from safetensors.torch import save_file
from torch import Tensor

from heatpoint import zoo
from heatpoint.commands import run
from heatpoint.commands.weights import Convert
from heatpoint.convert import LAYOUTS, convert, convert_file
from heatpoint.convert.layouts import COCO, VOC, named
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.weights import read_tensors
from heatpoint.zoo.detector import Detector


@pytest.fixture(scope="module")
def resnet18() -> dict[str, Tensor]:
    return checkpoint("xy_ctdet_coco_res_18")


BEARPAW = "bearpaw_hg{}_b1_mpii"
PRINCETON = "princeton_pytorch_stacked_hourglass_{}hg_mpii"


@pytest.fixture(scope="module")
def hourglass() -> dict[str, Tensor]:
    return checkpoint(BEARPAW.format(1))


def test_hourglasses_keep_their_own_ways(hourglass: dict[str, Tensor]) -> None:
    bearpaw = convert(hourglass)
    assert bearpaw.network.mean.tolist() == pytest.approx([112.302, 113.22, 110.3385])
    assert bearpaw.network.std.tolist() == [255.0] * 3
    assert bearpaw.codec.refine == "quarter"
    first = bearpaw.network.backbone.state_dict()["conv.weight"]
    assert torch.equal(first, hourglass["conv1.weight"])  # trained on RGB already
    princeton = convert(checkpoint(PRINCETON.format(2)))
    assert princeton.network.mean.tolist() == [0.0] * 3
    assert princeton.network.std.tolist() == [255.0] * 3
    assert princeton.codec.refine == "quarter-princeton"


def test_hourglasses_of_any_size_are_recognised(hourglass: dict[str, Tensor]) -> None:
    network = zoo.build("hourglass:3x2", ["dog"], skeleton=Skeleton(("nose", "tail"))).network
    layout = named("bearpaw_hg3_b2")
    assert layout is not None
    tensors = {
        f"module.{layout.published(name)}": tensor
        for name, tensor in network.state_dict().items()
        if name not in ("mean", "std")
    }
    detector = convert({"arch": "hg", "state_dict": tensors}, names=["dog"])
    assert detector.meta["layout"] == "bearpaw_hg3_b2"
    assert detector.meta["architecture"] == "hourglass:3x2"
    assert detector.skeleton == Skeleton(("joint_0", "joint_1"))
    assert detector.names == ("dog",)
    state = detector.network.state_dict()
    for name, tensor in network.state_dict().items():
        assert name in ("mean", "std") or torch.equal(state[name], tensor), name

    without = {name: tensor for name, tensor in hourglass.items() if name != "fc.0.0.bias"}
    with pytest.raises(HeatpointError, match=r"bearpaw_hg1_b1_mpii, .*: missing fc\.0\.0\.bias"):
        convert(without)
    with pytest.raises(HeatpointError, match=r"bearpaw_hg2_b1_mpii, .*: missing .* more"):
        convert(hourglass, "bearpaw_hg2_b1_mpii")
    with pytest.raises(HeatpointError, match=r"unexpected extra\.skip_layer\.conv\.bias"):
        convert({**hourglass, "extra.skip_layer.conv.bias": torch.zeros(1)})


def test_normalisation_is_turned_from_bgr_to_rgb(resnet18: dict[str, Tensor]) -> None:
    detector = convert(resnet18)
    assert detector.network.mean.tolist() == pytest.approx(
        [255 * 0.47026115, 255 * 0.44719302, 255 * 0.40789654]
    )
    assert detector.network.std.tolist() == pytest.approx(
        [255 * 0.27809835, 255 * 0.27408164, 255 * 0.28863828]
    )
    first = detector.network.backbone.state_dict()["model.conv1.weight"]
    assert torch.equal(first, resnet18["conv1.weight"].flip(1))


def with_classes(tensors: dict[str, Tensor], classes: int) -> dict[str, Tensor]:
    weight, bias = tensors["hm.2.weight"][:classes], tensors["hm.2.bias"][:classes]
    return {**tensors, "hm.2.weight": weight, "hm.2.bias": bias}


def test_class_names_follow_the_count(resnet18: dict[str, Tensor]) -> None:
    assert convert(resnet18).names == COCO
    voc = convert(with_classes(resnet18, 20), "xy_ctdet_coco_res_18")
    assert voc.names == VOC
    # The released code gives ImageNet's RGB values to BGR images of VOC.
    assert voc.network.mean[0].item() == pytest.approx(255 * 0.406)
    three = convert(with_classes(resnet18, 3), "xy_ctdet_coco_res_18")
    assert three.names == ("class_0", "class_1", "class_2")
    two = with_classes(resnet18, 2)
    named = convert(two, "xy_ctdet_coco_res_18", names=["cat", "dog"])
    assert named.names == ("cat", "dog")
    with pytest.raises(HeatpointError, match="2 classes, but 1 names"):
        convert(two, "xy_ctdet_coco_res_18", names=["cat"])


def test_wrappers_prefixes_and_missing_counters_do_not_matter(
    resnet18: dict[str, Tensor],
) -> None:
    plain = convert(resnet18).network.state_dict()
    old = {k: v.float() for k, v in resnet18.items() if not k.endswith("num_batches_tracked")}
    prefixed = {f"model.module.{name}": tensor for name, tensor in old.items()}
    found = convert({"epoch": 140, "state_dict": prefixed}).network.state_dict()
    assert found["mean"].dtype == torch.float32
    for name, tensor in plain.items():
        assert torch.equal(found[name], tensor.to(found[name].dtype)), name


def test_unused_tensors_are_listed(resnet18: dict[str, Tensor]) -> None:
    classifier = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    assert convert({**resnet18, **classifier}).meta["unused"] == ["fc.weight", "fc.bias"]


def test_a_layout_with_more_maps_is_not_taken_for_this_one(resnet18: dict[str, Tensor]) -> None:
    posed = {**resnet18, "hps.2.weight": torch.zeros(34, 64, 1, 1)}
    with pytest.raises(
        HeatpointError, match=r"xy_ctdet_coco_res_18, .*: unexpected hps\.2\.weight"
    ):
        convert(posed)
    assert convert(posed, "xy_ctdet_coco_res_18").meta["unused"] == ["hps.2.weight"]


def test_unknown_layouts_name_the_nearest(resnet18: dict[str, Tensor]) -> None:
    without = {name: t for name, t in resnet18.items() if name != "wh.0.bias"}
    with pytest.raises(HeatpointError) as caught:
        convert(without)
    message = str(caught.value)
    assert f"layouts tried (all {len(LAYOUTS)})" in message
    assert re.search(
        r"the nearest is xy_ctdet_coco_res_18, of which .*: missing wh\.0\.bias$", message
    )
    with pytest.raises(HeatpointError, match="did you mean 'xy_ctdet_coco_res_34'"):
        convert(resnet18, "xy_ctdet_coco_res34")


def test_things_without_tensors_are_refused() -> None:
    with pytest.raises(HeatpointError, match="holds no named tensors"):
        convert({})
    with pytest.raises(HeatpointError, match="epoch, weights are no tensors"):
        convert({"epoch": 3, "weights": {"a": torch.zeros(1)}})


class Harmful:
    """A pickle of this would run code when read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code was run",))


def test_files(
    tmp_path: Path, resnet18: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = {name: tensor.float() for name, tensor in resnet18.items()}
    zipped, legacy = tmp_path / "new.pth", tmp_path / "old.pth"
    torch.save({"epoch": 1, "state_dict": tensors}, zipped)
    torch.save(tensors, legacy, _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "a.safetensors")
    reference = convert(tensors).network.state_dict()
    for path in (zipped, legacy, tmp_path / "a.safetensors"):
        found = convert_file(path).network.state_dict()
        assert all(torch.equal(found[name], reference[name]) for name in reference)

    convert_file(zipped).save(tmp_path / "ours.safetensors")
    again = Detector.load(tmp_path / "ours.safetensors")
    assert again.meta["layout"] == "xy_ctdet_coco_res_18"

    cut = tmp_path / "cut.pth"
    for whole in (zipped, legacy, tmp_path / "a.safetensors"):
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(HeatpointError, match="cut off"):
            convert_file(cut)
    with pytest.raises(HeatpointError, match="does not exist"):
        convert_file(tmp_path / "none.pth")

    harmful = tmp_path / "harmful.pth"
    torch.save({"state_dict": tensors, "extra": Harmful()}, harmful)
    with pytest.raises(HeatpointError, match="could run code"):
        convert_file(harmful)
    harmful.write_bytes(pickle.dumps(Harmful(), protocol=2))
    with pytest.raises(HeatpointError, match="could run code"):
        convert_file(harmful)
    assert capsys.readouterr().out == ""


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    tensors = {f"layer{i}.weight": torch.ones(3, 2) for i in range(4)}
    path = tmp_path / "a.pth"
    choice, refused = np.random.default_rng(0), 0
    for zipped in (True, False):
        torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        damaged = [whole[: int(n)] for n in choice.integers(0, len(whole), 40)]
        for place in choice.integers(0, min(len(whole), 900), 60):
            damaged.append(whole[:place] + choice.bytes(3) + whole[place + 3 :])
        for content in damaged:
            path.write_bytes(content)
            try:
                read_tensors(path)
            except HeatpointError:  # any other error fails the test
                refused += 1
    assert refused >= 2 * 40  # those that are cut off at least


def test_the_command_names_joints(
    tmp_path: Path, hourglass: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "hg.pth", tmp_path / "pose.safetensors"
    state = {f"module.{name}": tensor.float() for name, tensor in hourglass.items()}
    torch.save({"epoch": 3, "arch": "hg", "state_dict": state}, source)
    names = [f"point {index}" for index in range(16)]
    (tmp_path / "own.json").write_text(json.dumps({"joints": names, "pairs": [[0, 1]]}))
    words = [str(source), "--out", str(out), "--names", "cat", "--skeleton"]
    assert run([*words, str(tmp_path / "own.json")], "convert", Convert) == 0
    assert "bearpaw_hg1_b1_mpii: 16 joints of a cat, 3,58" in capsys.readouterr().out
    detector = Detector.load(out)
    assert detector.skeleton == Skeleton(tuple(names), pairs=((0, 1),))
    assert detector.codec.flip == (1, 0, *range(2, 16))
    with pytest.raises(HeatpointError, match=r"coco17 has 17 joints, but .* has 16"):
        run([*words, "coco17"], "convert", Convert)
