"""The pictures of the page: mistakes beside what is nearest to them in training, right answers, and a batch."""

from collections.abc import Sequence

from harness.base import html
from harness.base.html import Html
from harness.base.text import count, shorten
from harness.results.report.facts import Picture, Pictures

_MOST_CHARS, _MOST_LETTERS = 56, 28  # of a path and a class in a caption; under the pointer the path is whole
STYLE = """
.sheet { gap: .6rem; } .sheet figure { width: 7rem; font-size: .72rem; line-height: 1.3; }
.sheet figure img { width: 7rem; height: 7rem; border-radius: .3rem; }
.case { display: flex; gap: .4rem; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem;
  break-inside: avoid; max-width: 100%; box-sizing: border-box; overflow-x: auto; }
.case[hidden] { display: none; } .path { display: block; color: var(--quiet); }
.bars { display: block; height: .5rem; background: var(--soft); } .bars i { display: block; height: 100%; }
"""


def describe(pictures: Pictures, class_names: Sequence[str]) -> Html:
    """Returns all kinds of pictures, each under its heading."""
    return Html(
        f"{_show_mistakes(pictures, class_names)}"
        f"{_show_sheet('Right, and least sure', pictures.unsure, class_names)}"
        f"{_show_sheet('Right, at random', pictures.right, class_names)}"
        f"{_show_augmented(pictures.augmented)}"
    )


def _show_mistakes(pictures: Pictures, class_names: Sequence[str]) -> str:
    heading = '<h3 id="mistakes">Surest mistakes</h3>'
    if not pictures.mistakes:
        return f"{heading}<p>There is no mistake on the validation split.</p>"
    cases = "".join(_show_case(picture, class_names) for picture in pictures.mistakes)
    shown = f"{len(pictures.mistakes):,} of {count(pictures.num_mistakes, 'mistake')}"
    said = (
        f"{shown}, the surest first, each beside the training picture that looks most like it by its edges (HOG "
        "features). If that one has the other class, look at both labels. A number in the tables above shows the "
        "mistakes of its pair alone."
    )
    every = '<p id="chosen" hidden><a href="#mistakes" data-show="">show all mistakes again</a></p>'
    return f'{heading}{html.paragraphs([said])}{every}<div class="pictures sheet">{cases}</div>'


def _show_case(picture: Picture, class_names: Sequence[str]) -> str:
    given, answer = (_name(class_names, label) for label in (picture.label, picture.predicted))
    caption = Html(
        f"is <b>{given}</b> ({picture.label_probability:.0%}), taken for <b>{answer}</b> "
        f"({picture.probability:.0%}){_path(picture.path)}"
    )
    shown = [html.picture(picture.jpeg, caption, title=picture.path)]
    if picture.overlay is not None:
        shown.append(html.picture(picture.overlay, Html("what the answer goes by"), title=picture.path))
    if picture.nearest is not None:
        near = Html(f"nearest in training: {_name(class_names, picture.nearest_label)}{_path(picture.nearest_path)}")
        shown.append(html.picture(picture.nearest, near, title=picture.nearest_path))
    return f'<div class="case" data-pair="{picture.label}-{picture.predicted}">{"".join(shown)}</div>'


def _show_sheet(title: str, pictures: Sequence[Picture], class_names: Sequence[str]) -> str:
    if not pictures:
        return ""
    shown = "".join(
        html.picture(
            picture.jpeg,
            Html(f"<b>{_name(class_names, picture.label)}</b> ({picture.probability:.0%}){_path(picture.path)}"),
            title=picture.path,
        )
        for picture in pictures
    )
    return f'<h3>{title}</h3><div class="pictures sheet">{shown}</div>'


def _show_augmented(pairs: Sequence[tuple[bytes, bytes]]) -> str:
    if not pairs:
        return ""
    shown = "".join(
        f'<div class="case">{html.picture(stored, Html("as stored"), title="as stored")}'
        f"{html.picture(trained, Html('as trained on'), title='as trained on')}</div>"
        for stored, trained in pairs
    )
    said = "Training pictures before and after the augmentation of the first epoch. Can you still tell the class?"
    return f'<h3>As augmented</h3>{html.paragraphs([said])}<div class="pictures sheet">{shown}</div>'


def _name(class_names: Sequence[str], label: int) -> Html:
    return html.text(shorten(class_names[label], _MOST_LETTERS))


def _path(path: str) -> str:
    return f'<span class="path">{html.breakable(shorten(path, _MOST_CHARS))}</span>'
