"""The figures of an exported file read alike in a terminal, on the card and on the page."""

from harness import export
from harness.results.export.exported import ExportedFile, Exports


def make_file(difference: float) -> ExportedFile:
    return ExportedFile("tflite", "model.tflite", 1_234_567_890, 32, difference, 1e-3, 1, 0.9, 1004.256)


def test_figures_of_a_file_are_short_and_whole():
    assert make_file(0.0002345).list_figures() == ("1,234.57", "0.00023", "1 of 32", "1,004.26")


def test_a_terminal_shows_these_figures():
    header, row = export.describe(Exports((make_file(8.94e-8),))).splitlines()
    assert " ".join(header.split()) == "format file MB largest difference other class ms a picture"
    assert " ".join(row.split()) == "tflite model.tflite 1,234.57 8.9e-08 1 of 32 1,004.26"
