"""What the figures of a report cannot say, told beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Fewer cells of a class than this make its figures uncertain.
FEW = 50


def limits_of(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences about what a reader should keep in mind."""
    found = ["For research and teaching; not a medical device, not for diagnosis."]
    data = metrics["data"]
    if data["split"] == "train":
        found.append("These are training images: the figures are better than on new cells.")
    elif data["split"] == "all":
        found.append(
            "All splits of the data were used: where the model was trained on some of them, the "
            "figures are better than on new cells."
        )
    elif data["split"] == "val":
        found.append(
            "The validation split also calibrates models: coverage, calibration and false alarms "
            "look better here than on new cells."
        )
    if not data["groups"]:
        found.append(
            "The data name no patients or slides: cells of one patient may be in training and "
            "here, and the intervals treat cells as independent, so they are too narrow."
        )
    few = [name for name, row in metrics["per_class"].items() if row["n"] < FEW]
    if few:
        found.append(f"Fewer than {FEW} cells: {', '.join(few)}; mind the intervals.")
    if not metrics["shift"]:
        found.append("No other laboratory was tested: expect less on another stain or camera.")
    if metrics["anomaly"]["auc"] is None:
        found.append(f"Anomaly detection was not measured: {metrics['anomaly']['why']}.")
    elif metrics["anomaly"]["trained_for_it"]:
        found.append(
            f"Anomalies were measured with a copy trained without {metrics['anomaly']['left_out']}"
            "; the model itself knows that class."
        )
    if not metrics["baselines"]:
        found.append("No baseline stands beside the model: name one with --baseline.")
    found.append(
        "All figures come from one model trained with one seed; the intervals (95 %, bootstrap "
        "over cells) do not include what another training run would change."
    )
    return found
