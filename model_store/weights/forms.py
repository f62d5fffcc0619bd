"""Which of two graphs weights belong to, where no shape tells: the file, its layout or the user must say."""

from __future__ import annotations

from model_store import zoo
from model_store.errors import InputError
from model_store.weights.layout import Layout
from model_store.weights.read import WeightsFile
from model_store.zoo import Form, Row


def in_form(row: Row, file: WeightsFile, layout: Layout, form: Form | None) -> Row:
    """Return the row of the form that the user, the layout or the file itself tells."""
    twin = zoo.twin(row)
    asked = row
    if form is not None and form != row.form:
        if twin is None:
            raise InputError(f"form: {form!r} must be {row.form!r}: {row.name} has no other form")
        asked, twin = twin, row
    if file.architecture is not None:
        _require_architecture(asked, file.architecture)
    elif layout.form is None:
        if form is None and asked.form == "torch" and _may_be_caffe(asked):
            raise InputError(_question(asked, twin))
    elif layout.form != asked.form and (form is None or layout.form_is_certain):
        advice = f"ask for {twin.name}" if twin else "the zoo has no net of that form"
        raise InputError(
            f"checkpoint: weights of layout {layout.name} are of the {layout.form} form, "
            f"but {asked.name} is of the {asked.form} form; {advice}"
        )
    return asked


def _may_be_caffe(row: Row) -> bool:
    """Tell whether nets of this kind are trained in the Caffe form, too.

    That a row has no twin does not keep people from having such weights. CIFAR's nets, of ten classes, have
    no pooling in their stem, and strides in one place only.
    """
    return any(
        (other.form, other.family, other.attention, other.classes)
        == ("caffe", row.family, row.attention, row.classes)
        for other in zoo.TABLE.values()
    )


def _question(row: Row, twin: Row | None) -> str:
    other = twin.name if twin else "its Caffe form, which the zoo does not have"
    return (
        f"checkpoint: the names do not tell whether these weights belong to {row.name} or to "
        f"{other}, where stride or pooling differ; give --form torch or --form caffe"
    )


def _require_architecture(row: Row, architecture: str) -> None:
    if architecture != row.name:
        raise InputError(
            f"checkpoint: holds {architecture!r}, but the architecture asked for is {row.name!r}"
        )
