"""Few-shot tasks over the package's image data sets, each cut into disjoint train, validation and test classes."""

from __future__ import annotations

from metabook.checks import check_count
from metabook.data import digits, folder, glyphs, mnist, omniglot
from metabook.data.class_images import ClassImages, concatenate
from metabook.tasks.challenge import OmniglotChallenge
from metabook.tasks.composed import Composed
from metabook.tasks.distort import Distort
from metabook.tasks.images import FewShot
from metabook.tasks.mixture import Mixture

VALIDATE_EACH = 8  #: of Omniglot's training characters every eighth is kept for validation


def glyph_tasks(
    part: str,
    *,
    way: int = 5,
    shots: int = 1,
    queries: int = 15,
    within_alphabet: bool = False,
    distort: bool = True,
    classes: int | None = None,
    fixed_labels: bool = False,
    composed: float = 0.0,
    handwritten: str | None = None,
) -> FewShot | Composed:
    """Printed letters; train, validation and test have scripts of their own.

    A letter has only a handful of faces, so every drawn image is distorted and the faces of a query may repeat, each
    time distorted anew; a face never serves as support and query of the same task. ``distort=False`` draws plain faces,
    for which ``queries`` must be small. classes: only so many letters of the part, spread evenly over its scripts.
    fixed_labels: every letter has the same label in all tasks (``FewShot``). composed: the part of a training task's
    classes that are made of two letters (``Composed``). handwritten: a split of Omniglot, as small1, whose letters,
    framed and in four rotations, are added to those of the training tasks.
    """
    data = glyph_images(part, classes)
    if handwritten is not None and part == "train":
        data = concatenate([data, omniglot.load(handwritten, framed=True).rotated()])
    if part != "train":
        composed = 0.0
    tasks = FewShot(
        data.images,
        data.labels,
        way=2 * way if composed else way,
        shots=shots,
        queries=queries,
        groups=data.groups,
        within_groups=within_alphabet,
        distort=Distort() if distort and not composed else None,
        repeat=distort,
        fixed_labels=fixed_labels,
    )
    return Composed(tasks, part=composed, distort=Distort() if distort else None) if composed else tasks


def glyph_images(part: str, classes: int | None = None) -> ClassImages:
    """The letters of a part; with ``classes`` only so many of them, spread evenly over its scripts.

    Raises TypeError or ValueError for a number of letters that the part does not have.
    """
    data = glyphs.load(part)
    if classes is None:
        return data
    if check_count("classes", classes) > len(data.names):
        raise ValueError(f"classes: {classes} given; the {part} part has {len(data.names)} letters")
    return data.select(i * len(data.names) // classes for i in range(classes))


def digit_tasks(part: str, *, way: int = 5, shots: int = 1, queries: int = 15) -> FewShot:
    """Handwritten digits. With ten classes there are none to hold out: the parts differ in their drawings.

    So a learner is tested on new drawings of classes it has seen; which of them has which label is drawn anew.
    """
    data = digits.load(part)
    return FewShot(data.images, data.labels, way=way, shots=shots, queries=queries)


def mnist_tasks(part: str, *, way: int = 5, shots: int = 1, queries: int = 15) -> FewShot:
    """Handwritten digits of MNIST. As with ``digit_tasks`` the parts differ in their drawings, not in their classes."""
    data = mnist.load(part)
    return FewShot(data.images, data.labels, way=way, shots=shots, queries=queries)


def omniglot_tasks(
    part: str,
    *,
    way: int = 5,
    shots: int = 1,
    queries: int = 15,
    within_alphabet: bool = False,
    split: str = "background",
    held_out: str = "evaluation",
    rotations: bool = True,
    flips: bool = False,
    distort: bool = False,
    composed: float = 0.0,
    size: int = 28,
    framed: bool = False,
    all_classes: bool = False,
) -> FewShot | Composed:
    """Handwritten letters: train and validation from ``split``, test from the alphabets that only ``held_out`` has.

    rotations: training characters turned by 90, 180 and 270 degrees count as characters of their own (Santoro et al.
        2016); test characters are never turned. flips: mirror images count as characters of their own too.
    distort: distort the training images at random. composed: the part of a training task's classes that are made of
        two characters (``Composed``). size: pixels of a side. framed: small letters become large
        (``metabook.data.omniglot.shrink``). all_classes: train on the characters kept for validation too, once all is
        chosen.
    """
    training = part == "train"
    data = omniglot_images(part, split, held_out, size=size, framed=framed, all_classes=all_classes)
    if training and rotations:
        data = data.rotated()
    if training and flips:
        data = data.mirrored()
    distortion = Distort() if training and distort else None
    composed = composed if training else 0.0
    tasks = FewShot(
        data.images,
        data.labels,
        way=2 * way if composed else way,
        shots=shots,
        queries=queries,
        groups=data.groups,
        within_groups=within_alphabet,
        distort=None if composed else distortion,
    )
    return Composed(tasks, part=composed, distort=distortion) if composed else tasks


def omniglot_images(
    part: str, split: str, held_out: str, *, size: int = 28, framed: bool = False, all_classes: bool = False
) -> ClassImages:
    """The characters of a part, as in ``omniglot_tasks``, none of them turned, mirrored or distorted."""
    if part == "test":
        return omniglot.held_out(split, held_out, size=size, framed=framed)
    data = omniglot.load(split, size=size, framed=framed)
    kept = [c for c in range(len(data.names)) if (c % VALIDATE_EACH == 0) == (part == "validation")]
    return data if all_classes and part == "train" else data.select(kept)


def character_domain_tasks(
    part: str,
    *,
    way: int = 5,
    shots: int = 1,
    queries: int = 5,
    split: str = "background",
    held_out: str = "evaluation",
) -> Mixture:
    """Printed letters for one half of the tasks, handwritten ones for the other, as in the two functions above."""
    printed = glyph_tasks(part, way=way, shots=shots, queries=queries)
    handwritten = omniglot_tasks(part, way=way, shots=shots, queries=queries, split=split, held_out=held_out)
    return Mixture([printed, handwritten])


def challenge_tasks(
    part: str, *, archive: str | None = None, size: int = 28, framed: bool = False
) -> OmniglotChallenge:
    """The 20 official one-shot runs, or those of another archive of the same layout.

    Raises ValueError unless ``part`` is test: nothing may be trained on them.
    """
    if part != "test":
        raise ValueError(f"part: {part!r} given; the challenge is a test, train on omniglot instead")
    return OmniglotChallenge(archive, size=size, framed=framed)


def folder_tasks(
    part: str, *, path: str, way: int = 5, shots: int = 1, queries: int = 5, size: int = 28, all_classes: bool = False
) -> FewShot:
    """Your own images: one sub-folder of ``path`` a class, any sizes and colours, made grey and ``size`` x ``size``.

    Of every five classes, in the order of their names, three are for training, one is for validation and one for test;
    with ``all_classes`` every part has all of them, for scoring a learner that was trained on other data.
    """
    data = folder.load(path, size=size)
    if not all_classes:
        parts = ("train", "train", "train", "validation", "test")
        kept = [c for c in range(len(data.names)) if parts[c % 5] == part]
        if len(kept) < way:
            raise ValueError(
                f"way: {way} given; of the {len(data.names)} classes in {path} the {part} part has {len(kept)}: "
                "give fewer ways, more classes, or all_classes=true"
            )
        data = data.select(kept)
    return FewShot(data.images, data.labels, way=way, shots=shots, queries=queries)
