"""What a picture file is, by its bytes and its name."""

from harness.dataset.images import formats


def test_names_that_say_another_format_are_noted():
    assert formats.note_of_name("a/photo.JPG", "jpeg") == ()
    assert formats.note_of_name("a/photo.jpeg", "jpeg") == ()
    assert formats.note_of_name("a/photo", "png") == ()
    assert formats.note_of_name("a/photo.jpg", "webp") == ("wrong_extension",)
