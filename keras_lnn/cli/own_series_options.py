"""The options of commands that read series of the user's own: columns and folder of a table, and the unit of times."""

from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from keras_lnn.data.options import OwnImages
from keras_lnn.fields.values import parse_time_unit

if TYPE_CHECKING:
    from keras_lnn.saved.signature import Signature


class OwnSeriesOptions(pydantic.BaseModel):
    """How tables of series are read by a model that has been trained."""

    image_dir: Path | None = pydantic.Field(
        None, description="for series: folder of the images of a table (default: the table's folder)"
    )
    file_column: str | None = pydantic.Field(None, description="for series: column of the table that names the files")
    series_column: str | None = pydantic.Field(
        None, description="for series: column of the table that names the series of each image, such as patient"
    )
    time_column: str | None = pydantic.Field(
        None, description="for series: column of the table with the time or date of each image"
    )
    time_unit: str | None = pydantic.Field(
        None,
        description="for series: unit of times that state none, such as minutes; they are converted to the model's "
        "unit (default: for numbers in a table the model's unit)",
    )

    @pydantic.field_validator("time_unit", mode="after")
    @classmethod
    def _time_unit(cls, value: str | None) -> str | None:
        return parse_time_unit(value)


def read_own_options(
    command: OwnSeriesOptions, model: str, signature: "Signature", skip_bad: bool = False
) -> OwnImages | None:
    """Returns the options of series of own images; None for a model of images, which has none.

    Args:
        command: The command.
        model: What it calls the model, for messages.
        signature: Of the model.
        skip_bad: Whether images that cannot be read are left out.
    """
    fields = OwnSeriesOptions.model_fields
    given = {name: value for name in fields if (value := getattr(command, name)) is not None}
    for name in given:
        signature.require_series(model, f"--{name.replace('_', '-')}")
    return None if signature.time_unit is None else OwnImages(**given, skip_bad=skip_bad)
