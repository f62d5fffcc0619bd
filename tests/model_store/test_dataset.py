"""Labelled images: class folders and CSV files, and what each mistake in them is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.dataset import read_dataset
from model_store.errors import InputError

LABELS = ("cat", "dog", "house, detached")


def touch(*paths: Path) -> None:
    """Make files; their contents are not looked at."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_folders_are_classes(tmp_path: Path) -> None:
    """Images at any depth and of any spelling of the ending count, in the order of their names."""
    wanted = [tmp_path / "cat/b.PNG", tmp_path / "cat/deep/er/a.jpeg", tmp_path / "dog/z.webp"]
    touch(*wanted, tmp_path / "dog/notes.txt", tmp_path / ".cache/x.png", tmp_path / "README.png")
    found = read_dataset(tmp_path, LABELS)
    assert [(image.path, image.label) for image in found.images] == list(zip(wanted, (0, 0, 1), strict=True))
    assert found.absent == ("house, detached",)
    assert found.ignored == (tmp_path / "README.png", tmp_path / "dog/notes.txt")


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    """Links to folders, which may lead in a circle, and to nothing; hidden files are nobody's images."""
    touch(tmp_path / "cat/1.png", tmp_path / "cat/.2.png", tmp_path / "cat/.thumbnails/1.png")
    (tmp_path / "cat/more").symlink_to(tmp_path / "cat")
    (tmp_path / "cat/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "cat/same.png").symlink_to(tmp_path / "cat/1.png")
    found = read_dataset(tmp_path, LABELS)
    assert [image.path.name for image in found.images] == ["1.png", "same.png"]
    assert [path.name for path in found.ignored] == ["gone.png", "more"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_names_paths_beside_it(tmp_path: Path, mark: str) -> None:
    """Its lines' order is kept, further columns are ignored, and a spreadsheet's mark does no harm."""
    touch(tmp_path / "images/1", tmp_path / "images/2.png")
    text = f'{mark}label,note,path\n"house, detached",,images/2.png\ncat,x,images/1\n'
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    found = read_dataset(tmp_path / "labels.csv", LABELS)
    assert [(image.path.name, image.label) for image in found.images] == [("2.png", 2), ("1", 0)]
    assert (found.absent, found.ignored) == (("dog",), ())


def test_an_unknown_folder_is_refused_with_the_nearest_label(tmp_path: Path) -> None:
    """A typing error is found at once."""
    touch(tmp_path / "cat/1.png", tmp_path / "hose, detached/1.png")
    with pytest.raises(InputError) as caught:
        read_dataset(tmp_path, LABELS)
    assert str(caught.value).endswith(
        "'hose, detached' is none of the archive's 3 labels; the nearest is 'house, detached'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n1.png,cat\n1.png,dgo\n", "line 3: '1.png' stands already on line 2"),
        ("path,label\n1.png,dgo\n", "line 2: 'dgo' is none of the archive's 3 labels; the nearest is 'dog'"),
        ("path,label\n2.png,cat\n", "line 2: '2.png' is no file beside the CSV"),
        ("path,label\n1.png\n", "line 2: '' is none of the archive's 3 labels; such as 'cat', 'dog', "),
        ("path;label\n1.png;cat\n", "lacks the column 'path' in its first line, got 'path;label'"),
        ("file,label\n1.png,cat\n", "lacks the column 'path' in its first line"),
        ("", "lacks the column 'path' in its first line"),
        ("path,label\n", "holds no image; one a line, after the first"),
        ('path,label\n"1.png,cat', "must be a folder, or a CSV file in UTF-8"),
    ],
)
def test_a_wrong_csv_says_where(tmp_path: Path, text: str, message: str) -> None:
    """The message names the file, the line and the rule."""
    touch(tmp_path / "1.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_dataset(tmp_path / "labels.csv", LABELS)
    assert message in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    """A missing file, an image, a folder of loose images, one of empty class folders."""
    with pytest.raises(InputError, match=r"cannot read .*: No such file or directory"):
        read_dataset(tmp_path / "nowhere", LABELS)
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff\xe0\x00\x10")
    with pytest.raises(InputError, match="must be a folder, or a CSV file in UTF-8"):
        read_dataset(tmp_path / "image.jpg", LABELS)
    with pytest.raises(InputError, match="must hold a folder for each class, but holds no folder"):
        read_dataset(tmp_path, LABELS)
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match=r"holds no image; names must end with \.jpg"):
        read_dataset(tmp_path, LABELS)
