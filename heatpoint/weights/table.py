"""The table of published weights that ``heatpoint convert`` can read.

It holds facts only. Scores are those of the publishers, none was measured here. Hashes are the
publishers' own: mmdet and mmpose put the first 8 digits of the SHA-256 into the file's name (their
``publish_model.py``); the others publish none. Licences are those of the publishing repository,
for no file states its own. Layouts whose publisher offers no file are not in the table.
"""

from __future__ import annotations

from typing import Literal

from heatpoint.weights.record import Pixels, Published

UNKNOWN_LICENCE = "not established"

COCO_BGR = Pixels("bgr", (0.40789654, 0.44719302, 0.47026115), (0.28863828, 0.27408164, 0.27809835))
BUBBLIIIING_BGR = Pixels(
    "bgr", (0.40789655, 0.44719303, 0.47026116), (0.2886383, 0.27408165, 0.27809834)
)
IMAGENET_RGB = Pixels("rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BEARPAW_RGB = Pixels("rgb", (0.4404, 0.4440, 0.4327), (1.0, 1.0, 1.0))
PLAIN_RGB = Pixels("rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

CORNERNET_PROTOCOL = (
    "COCO test-dev, original resolution, flip / flip and several scales; a later revision of the "
    "paper has 40.6 / 42.2, and which of the two this file made is not established"
)
MMDET = "https://download.openmmlab.com/mmdetection/v2.0/cornernet/"
MMDET_PAGE = "https://github.com/open-mmlab/mmdetection"
MMDET_PROTOCOL = "COCO val2017, original resolution, flip, one scale"
MMPOSE = "https://download.openmmlab.com/mmpose/top_down/hourglass/"
MMPOSE_PAGE = "https://github.com/open-mmlab/mmpose"
MMPOSE_COCO = "COCO val2017, flip, boxes of a person detector of 56.4 AP"
MMPOSE_MPII = "MPII validation, flip, annotated persons"
BUBBLIIIING_PAGE = "https://github.com/bubbliiiing/centernet-pytorch"
BUBBLIIIING = f"{BUBBLIIIING_PAGE}/releases/download/v1.0/"
PRINCETON_PAGE = "https://github.com/princeton-vl/pytorch_stacked_hourglass"


def _mmdet(name: str, folder: str, stamp: str, sha256: str, score: str) -> Published:
    """Returns one of mmdet's CornerNets, which differ in batch size only."""
    return Published(
        name=name,
        architecture="cornernet_hourglass104",
        layout="mmdet_cornernet_hourglass104",
        data="COCO",
        classes=80,
        size=(511, 511),
        pixels=IMAGENET_RGB,
        file=f"{folder}_{stamp}-{sha256}.pth",
        address=f"{MMDET}{folder}/{folder}_{stamp}-{sha256}.pth",
        page=MMDET_PAGE,
        sha256=sha256,
        licence="Apache-2.0",
        score=score,
        protocol=MMDET_PROTOCOL,
        reported="mmdet 3.3.0, configs/cornernet/metafile.yml and README",
    )


def _mmpose(
    data: Literal["COCO keypoints", "MPII"], side: int, sha256: str, date: str, score: str
) -> Published:
    """Returns one of mmpose's Hourglass-52; targets are 2 cells wide at 256 pixels, 3 at 384."""
    short = "mpii" if data == "MPII" else "coco"
    file = f"hourglass52_{short}_{side}x{side}-{sha256}_{date}.pth"
    return Published(
        name=f"mmpose_hourglass52_{short}_{side}",
        architecture="mmpose_hourglass52",
        layout=f"mmpose_hourglass52_{short}",
        data=data,
        classes=16 if data == "MPII" else 17,
        size=(side, side),
        pixels=IMAGENET_RGB,
        file=file,
        address=MMPOSE + file,
        page=MMPOSE_PAGE,
        sha256=sha256,
        licence="Apache-2.0",
        score=score,
        protocol=MMPOSE_MPII if data == "MPII" else MMPOSE_COCO,
        reported=f"mmpose, hourglass_{short}.yml",
        sigma=2.0 if side == 256 else 3.0,
    )


def _bearpaw(stacks: int, score: str) -> Published:
    return Published(
        name=f"bearpaw_hg_s{stacks}_b1",
        architecture=f"hourglass_{stacks}stack",
        layout=f"bearpaw_hg{stacks}_b1_mpii",
        data="MPII",
        classes=16,
        size=(256, 256),
        pixels=BEARPAW_RGB,
        file="model_best.pth.tar",
        page="https://github.com/bearpaw/pytorch-pose",
        by_hand=f"the README links a Google Drive folder; take hg_s{stacks}_b1/model_best.pth.tar",
        licence=UNKNOWN_LICENCE,
        score=score,
        protocol="MPII validation (2958 persons), no flip, annotated persons",
        reported="README of bearpaw/pytorch-pose, row best",
    )


def _princeton(stacks: int, score: str) -> Published:
    return Published(
        name=f"princeton_{stacks}hg",
        architecture=f"princeton_hourglass_{stacks}stack",
        layout=f"princeton_pytorch_stacked_hourglass_{stacks}hg_mpii",
        data="MPII",
        classes=16,
        size=(256, 256),
        pixels=PLAIN_RGB,
        file="checkpoint.pt",
        page=PRINCETON_PAGE,
        by_hand=(
            f"the README links original_{stacks}hg/checkpoint.pt on a university's server, without "
            "encryption or hash"
        ),
        licence="BSD-3-Clause",
        score=score,
        protocol="MPII validation, flip, annotated persons, over all joints with pelvis and thorax",
        reported="README of princeton-vl/pytorch_stacked_hourglass",
    )


_RECORDS = (
    Published(
        name="ctdet_coco_hg",
        architecture="centernet_hourglass104",
        layout="xy_ctdet_coco_hourglass",
        data="COCO",
        classes=80,
        size=(512, 512),
        pixels=COCO_BGR,
        file="ctdet_coco_hg.pth",
        page="https://github.com/xingyizhou/CenterNet",
        by_hand="readme/MODEL_ZOO.md links ctdet_coco_hg on Google Drive",
        licence="MIT",
        score="AP 40.3 / 42.2 / 45.1",
        protocol="COCO val2017, plain / flip / flip and scales 0.5,0.75,1,1.25,1.5, most likely at "
        "the original resolution",
        reported="readme/MODEL_ZOO.md of xingyizhou/CenterNet",
    ),
    Published(
        name="cornernet_coco",
        architecture="cornernet_hourglass104",
        layout="cornernet_hourglass104",
        data="COCO",
        classes=80,
        size=(511, 511),
        pixels=COCO_BGR,
        file="CornerNet_500000.pkl",
        page="https://github.com/princeton-vl/CornerNet",
        by_hand="the README links the trained model on Google Drive",
        licence=UNKNOWN_LICENCE,
        score="AP 40.5 / 42.1",
        protocol=CORNERNET_PROTOCOL,
        reported="CornerNet, ECCV 2018, as quoted by Duankaiwen/CenterNet",
    ),
    Published(
        name="cornernet_lite_coco",  # the same weights under other tensor names
        architecture="cornernet_hourglass104",
        layout="cornernet_lite_port_hourglass104",
        data="COCO",
        classes=80,
        size=(511, 511),
        pixels=COCO_BGR,
        file="CornerNet_500000.pkl",
        page="https://github.com/princeton-vl/CornerNet-Lite",
        by_hand="the README links CornerNet on Google Drive",
        licence="BSD-3-Clause",
        score="AP 40.5 / 42.1",
        protocol=CORNERNET_PROTOCOL,
        reported="CornerNet, ECCV 2018, as quoted by Duankaiwen/CenterNet",
    ),
    _mmdet(
        "mmdet_cornernet_10xb5",
        "cornernet_hourglass104_mstest_10x5_210e_coco",
        "20200824_185720",
        "5fefbf1c",
        "AP 41.2",
    ),
    _mmdet(
        "mmdet_cornernet_8xb6",
        "cornernet_hourglass104_mstest_8x6_210e_coco",
        "20200825_150618",
        "79b44c30",
        "AP 41.2",
    ),
    _mmdet(
        "mmdet_cornernet_32xb3",
        "cornernet_hourglass104_mstest_32x3_210e_coco",
        "20200819_203110",
        "1efaea91",
        "AP 40.4",
    ),
    Published(
        name="bubbliiiing_resnet50_voc",
        architecture="bubbliiiing_resnet50",
        layout="bubbliiiing_resnet50_voc",
        data="VOC 07+12",
        classes=20,
        size=(512, 512),
        pixels=BUBBLIIIING_BGR,
        file="centernet_resnet50_voc.pth",
        address=f"{BUBBLIIIING}centernet_resnet50_voc.pth",
        page=BUBBLIIIING_PAGE,
        licence=UNKNOWN_LICENCE,
        score="mAP50 77.1",
        protocol="VOC 2007 test, 512x512 by stretching, NMS",
        reported="README of bubbliiiing/centernet-pytorch",
    ),
    Published(
        name="bubbliiiing_hourglass_coco",
        architecture="centernet_hourglass104",
        layout="bubbliiiing_hourglass_coco",
        data="COCO",
        classes=80,
        size=(512, 512),
        pixels=BUBBLIIIING_BGR,
        file="centernet_hourglass_coco.pth",
        address=f"{BUBBLIIIING}centernet_hourglass_coco.pth",
        page=BUBBLIIIING_PAGE,
        licence=UNKNOWN_LICENCE,
        score="AP 38.4, AP50 56.8",
        protocol="COCO val2017, 512x512",
        reported="README of bubbliiiing/centernet-pytorch",
    ),
    _mmpose("COCO keypoints", 256, "4ec713ba", "20200709", "AP 72.6"),
    _mmpose("COCO keypoints", 384, "be91ba2b", "20200812", "AP 74.6"),
    _mmpose("MPII", 256, "ae358435", "20200812", "PCKh@0.5 88.9, @0.1 31.7"),
    _mmpose("MPII", 384, "04090bc3", "20200812", "PCKh@0.5 89.4, @0.1 36.7"),
    _bearpaw(2, "PCKh@0.5 86.95"),
    _bearpaw(8, "PCKh@0.5 88.78"),
    _princeton(2, "PCKh@0.5 88.3"),
    _princeton(8, "PCKh@0.5 90.2"),
)

PUBLISHED: dict[str, Published] = {record.name: record for record in _RECORDS}
"""Published weights by name."""
