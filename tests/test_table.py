"""Tables of boxes: headings of all kinds, tables without, shares, splits, classes and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_content import draw, write

from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

WANTED = [[1, 2, 11, 22]]


@pytest.mark.parametrize(
    "text",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,50,40,cat,1,2,11,22\n",
        "Class; X_Max; YMax; XMin; Y min; Image Path\ncat;11;22;1;2;a.jpg\n",
        "image_path\tx\ty\tw\th\tlabel\na.jpg\t1\t2\t10\t20\tcat\n",
        "image,x,y,width,height,category\na.jpg,1,2,10,20,cat\n",
        "file,left,top,right,bottom,label\na.jpg,1,2,11,22,cat\n",
        "file,left,top,width,height,label\na.jpg,1,2,10,20,cat\n",
        "img,x_center,y_center,w,h,label\na.jpg,6,12,10,20,cat\n",
        'image_id,width,height,bbox,label\na,50,40,"[1.0, 2.0, 10.0, 20.0]",cat\n',
        "a.jpg,1,2,11,22,cat\n",
        "\ufefffilename,class,xmin,ymin,xmax,ymax\r\na.jpg,cat,1,2,11,22\r\n",
        ",filename,class,xmin,ymin,xmax,ymax\n0,a.jpg,cat,1,2,11,22\n",
        "sep=;\r\nfilename;class;xmin;ymin;xmax;ymax\r\na.jpg;cat;1;2;11;22\r\n",
        '"sep=,"\nfilename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,2,11,22\n',
    ],
)
def test_headings(tmp_path: Path, text: str) -> None:
    draw(tmp_path)
    data = read(write(tmp_path / "boxes.csv", text))
    assert data.format == "CSV table"
    assert data.images[0].boxes.tolist() == WANTED
    assert (data.names, data.images[0].path) == (("cat",), tmp_path / "a.jpg")
    assert data.findings == []


def test_decimal_commas_where_semicolons_separate(tmp_path: Path) -> None:
    draw(tmp_path)
    heading, cells = "filename;class;xmin;ymin;xmax;ymax", "a.jpg;1,5;1,25;2,5;11;22,0"
    for text in (f"{heading}\n{cells}\n", f"sep=;\n{heading}\n{cells}\n"):
        data = read(write(tmp_path / "boxes.csv", text))
        assert data.images[0].boxes.tolist() == [[1.25, 2.5, 11, 22]]
        assert data.names == ("1,5",)  # a class is no number
    data = read(write(tmp_path / "bare.csv", "a.jpg;1,25;2,5;11;22,0;cat\n"))
    assert data.images[0].boxes.tolist() == [[1.25, 2.5, 11, 22]]
    text = 'filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,"1,234",2,11,22\n'  # a thousand?
    with pytest.raises(HeatpointError, match=r"b.csv:2.*1,234"):
        read(write(tmp_path / "b.csv", text))
    with pytest.raises(HeatpointError, match=r"c.csv:3"):  # lines are those of the file
        read(write(tmp_path / "c.csv", f"sep=;\n{heading}\na.jpg;cat;x;2;11;22\n"))


def test_pictures_without_boxes_and_rows_of_one_picture_apart(tmp_path: Path) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax\nb.jpg,cat,1,2,3,4\na.jpg,,,,,\nb.jpg,dog,5,6,7,8\n"
    data = read(write(tmp_path / "boxes.csv", text))
    assert [(r.path.name, r.boxes.tolist()) for r in data.images] == [
        ("b.jpg", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ("a.jpg", []),
    ]
    bare = read(write(tmp_path / "bare.csv", "a.jpg,,,,,\nb.jpg,1,2,3,4,cat\n"))
    assert [len(record) for record in bare.images] == [0, 1]


def test_shares_become_pixels_of_the_picture(tmp_path: Path) -> None:
    draw(tmp_path)
    text = "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,0.1,0.25,0.5,1\nz.jpg,cat,0,0,0.5,1\n"
    data = read(write(tmp_path / "boxes.csv", text))
    assert data.images[0].boxes.tolist() == [[5, 10, 25, 40]]
    assert data.left_out == {"object of an unreadable image": 1}
    told = [(each.kind, each.detail) for each in data.findings if not each.image]
    assert told == [("shares of the image as coordinates", "none is larger than 1")]


def test_open_images(tmp_path: Path) -> None:
    draw(tmp_path / "images")
    heading = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated"
    rows = "a,xclick,/m/01,1,0.1,0.5,0.25,1,0,0,1\na,xclick,/m/02,1,0,0.5,0,0.5,0,0,0\n"
    write(tmp_path / "metadata/class-descriptions-boxable.csv", "/m/02,Dog\n/m/01,Cat\n/m/03,Owl\n")
    data = read(write(tmp_path / "boxes.csv", f"{heading},IsGroupOf\n{rows}"))
    assert data.names == ("Dog", "Cat", "Owl")
    assert data.images[0].boxes.tolist() == [[5, 10, 25, 40], [0, 0, 25, 20]]
    assert data.images[0].labels.tolist() == [1, 0]
    assert data.images[0].crowd.tolist() == [True, False]
    assert data.images[0].path == tmp_path / "images/a.jpg"


def test_classes_stand_beside_the_table(tmp_path: Path) -> None:
    table = write(tmp_path / "boxes.csv", "a.jpg,1,2,11,22,cat\n")
    write(tmp_path / "classes.csv", "dog,1\nowl,0\ncat,2\n")
    assert read(table).names == ("owl", "dog", "cat")
    write(
        tmp_path / "label_map.pbtxt", "item {\n id: 1\n name: 'cat'\n}\nitem { id: 2 name: \"dog\"}"
    )
    assert read(table).names == ("cat", "dog")


def test_without_classes_everything_is_an_object(tmp_path: Path) -> None:
    text = 'image_id,width,height,bbox,source\nb6ab,1024,1024,"[834.0, 222.0, 56.0, 36.0]",usask\n'
    data = read(write(tmp_path / "train.csv", text))
    assert data.names == ("object",)
    assert data.images[0].boxes.tolist() == [[834, 222, 890, 258]]
    assert data.images[0].size == (1024, 1024)


def test_splits_by_a_column_and_of_automl(tmp_path: Path) -> None:
    text = "split,image,label,x1,y1,x2,y2\ntrain,a.jpg,dog,1,2,3,4\nval,b.jpg,cat,1,2,3,4\n"
    data = read(f"{write(tmp_path / 'boxes.csv', text)}:val")
    assert (len(data), data.names, data.images[0].path.name) == (1, ("cat", "dog"), "b.jpg")
    draw(tmp_path)
    rows = "TRAIN,gs://bucket/a.jpg,cat,0.1,0.25,,,0.5,1,,\nVALIDATION,gs://bucket/b.jpg,,,,,,,,,\n"
    data = read(f"{write(tmp_path / 'automl.csv', rows)}:train")
    assert data.images[0].boxes.tolist() == [[5, 10, 25, 40]]
    assert data.images[0].path == tmp_path / "a.jpg"


def test_corners_in_another_order_are_told(tmp_path: Path) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,11,2,1,22\na.jpg,cat,1,2,11,22\n"
    data = read(write(tmp_path / "boxes.csv", text))
    assert data.images[0].boxes.tolist() == WANTED * 2
    assert [each.kind for each in data.findings] == ["corners swapped"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,price,size\n1,2,3\n", r"a box \(filename, .*got the headings 'id', 'price', 'size'"),
        ("cat,0\ndog,1\n", r"got the headings 'cat', '0'"),
        ("", "is empty; expected a table of boxes or points"),
        ("filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,2\n", r"csv:2: expected 6 cells, got 4"),
        ("filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,2,b,4\n", r"csv:2: .*numbers .*\['b'\]"),
        ("filename,class,xmin,ymin,xmax,ymax\n,cat,1,2,3,4\n", r"csv:2: .*name of a picture"),
        ('filename,class,xmin,ymin,xmax,ymax\n"' + "a" * 140_000 + '"', r"csv:\d: field larger"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(HeatpointError, match=said):
        read(write(tmp_path / "boxes.csv", text))


def test_many_boxes_on_one_picture_are_read_in_a_moment(tmp_path: Path) -> None:
    rows = "".join(f"a.jpg,cat,{i},2,{i + 5},22\n" for i in range(20_000))
    table = write(tmp_path / "boxes.csv", f"filename,class,xmin,ymin,xmax,ymax\n{rows}")
    assert read(table).objects == 20_000
