"""The reader's own images: any size, mode and polarity become the same kind of drawing."""

import numpy as np
import pytest
import torch
from PIL import Image

from metabook.data import folder


def cross(height=60, width=40):
    """Light ink on black: a cross of 255 in the middle of a page, [H, W]."""
    page = np.zeros((height, width), np.uint8)
    page[height // 2 - 5 : height // 2 + 5, 8:-8] = 255
    page[10:-10, width // 2 - 5 : width // 2 + 5] = 255
    return page


def save(path, page, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(page).convert(mode).save(path)
    return path


def test_read_image_pads_to_a_square_and_averages(tmp_path):
    """60 x 40: ten columns of paper on each side, then 60 -> 20 is the mean of blocks of 3 x 3."""
    page = cross()
    square = np.pad(page, ((0, 0), (10, 10))).astype(float)
    blocks = square.reshape(20, 3, 20, 3).mean((1, 3))
    image = folder.read_image(save(tmp_path / "a.png", page), size=20)
    assert image.shape == (1, 20, 20) and image.dtype == torch.uint8
    assert np.abs(image[0].numpy() - blocks).max() <= 0.5


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "P", "CMYK", "LA"])
@pytest.mark.parametrize("dark_ink", [False, True])
def test_mode_and_polarity_do_not_matter(tmp_path, mode, dark_ink):
    page = 255 - cross() if dark_ink else cross()
    suffix = "tif" if mode == "CMYK" else "png"
    image = folder.read_image(save(tmp_path / f"a.{suffix}", page, mode))
    assert (image.int() - folder.read_image(save(tmp_path / "b.png", cross())).int()).abs().max() <= 2


def test_16_bit_images(tmp_path):
    """Values far above 255 are not cut off: ink of 11,750 on paper of 50,000."""
    Image.fromarray(50_000 - cross().astype(np.uint16) * 150).save(tmp_path / "a.png")
    image = folder.read_image(tmp_path / "a.png")
    assert torch.equal(image, folder.read_image(save(tmp_path / "b.png", cross())))


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_parts_are_paper(tmp_path, ink):
    """An opaque cross on nothing: dark or light, the cross is the ink."""
    page = np.zeros((60, 40, 4), np.uint8)
    page[..., :3] = ink
    page[..., 3] = cross()
    Image.fromarray(page).save(tmp_path / "a.png")
    assert torch.equal(folder.read_image(tmp_path / "a.png"), folder.read_image(save(tmp_path / "b.png", cross())))


def test_grey_paper_becomes_0_and_the_strongest_ink_255(tmp_path):
    page = np.full((28, 28), 180, np.uint8)
    page[10:18, 10:18] = 80
    page[10, 10] = 230  # a light speck on light paper is no ink
    image = folder.read_image(save(tmp_path / "a.png", page))[0]
    assert image[0, 0] == 0 and image[10, 10] == 0 and image[12, 12] == 255


def test_a_blank_page_stays_blank(tmp_path):
    page = np.full((30, 30), 250, np.uint8)
    page[3, 3] = 245  # noise is not stretched
    assert folder.read_image(save(tmp_path / "a.png", page)).max() <= 5


def test_small_images_are_enlarged_and_turned_by_exif(tmp_path):
    page = np.zeros((7, 7), np.uint8)
    page[1:3, 1:6] = 255
    assert folder.read_image(save(tmp_path / "a.png", page))[0, :14].float().mean() > 60
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.kron(page, np.ones((8, 8), np.uint8))).save(tmp_path / "a.jpg", exif=exif, quality=95)
    turned = folder.read_image(tmp_path / "a.jpg")[0].float()
    assert turned[:, 14:].mean() > 10 * turned[:, :14].mean()


def test_load_takes_one_class_a_folder_and_leaves_the_rest(tmp_path):
    for name, count in (("star", 2), ("circle", 3)):
        for i in range(count):
            save(tmp_path / name / f"{i}.PNG", cross(30 + i, 30))
    (tmp_path / "star" / "notes.txt").write_text("x")
    (tmp_path / "star" / ".hidden.png").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.md").write_text("x")
    data = folder.load(tmp_path, size=16)
    assert data.names == ["circle", "star"] and data.labels.tolist() == [0, 0, 0, 1, 1]
    assert data.images.shape == (5, 1, 16, 16) and data.groups.tolist() == [0, 0]
    assert data.group_names == [tmp_path.name]
    files = folder.image_files(tmp_path / "circle")
    assert [f.name for f in files] == ["0.PNG", "1.PNG", "2.PNG"]
    assert torch.equal(folder.load_images(files, size=16), data.images[:3])


def folder_with(tmp_path, **files):
    for name in ("a", "b"):
        save(tmp_path / name / "good.png", cross())
    for name, content in files.items():
        (tmp_path / "b" / name.replace("_", ".")).write_bytes(content)
    return tmp_path


def png(tmp_path):
    return save(tmp_path / "x.png", cross()).read_bytes()


def test_bad_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: .*nowhere given; there is no such folder"):
        folder.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has 0 sub-folders; at least two"):
        folder.load(tmp_path)
    file = save(tmp_path / "only" / "a.png", cross())
    with pytest.raises(ValueError, match="has 1 sub-folders; at least two"):
        folder.load(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"a.png given; that is a file"):
        folder.load(file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"path: .*empty has no images; known are .png, .jpg"):
        folder.load(tmp_path)
    with pytest.raises(ValueError, match="size: 0 given"):
        folder.load(tmp_path, size=0)


@pytest.mark.parametrize("cut", [0, 8, 60, -30])
def test_damaged_image_is_named(tmp_path, cut):
    root = folder_with(tmp_path / "root", bad_png=png(tmp_path)[:cut])
    with pytest.raises(ValueError, match=r"root/b/bad.png: no readable image") as raised:
        folder.load(root)
    assert "\n" not in str(raised.value)


def test_bad_query_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: .*none.png given; there is no such file"):
        folder.load_images([tmp_path / "none.png"])
    with pytest.raises(ValueError, match="paths: none given"):
        folder.load_images([])


def test_enormous_image_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MOST_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"60 x 40|40 x 60 pixels; allowed are 1000"):
        folder.read_image(save(tmp_path / "a.png", cross()))
