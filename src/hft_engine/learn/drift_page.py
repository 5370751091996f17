"""Drift as one HTML page, in the style of the model card: a table of all features, and pictures of those that moved."""

from collections.abc import Sequence

from hft_engine.inference.model import ModelMetadata
from hft_engine.learn import pictures
from hft_engine.learn.card import figure, page, table
from hft_engine.models.drift import PSI_SOME, PSI_STRONG, FeatureDrift

PICTURES_MAX = 12


def drift_page(metadata: ModelMetadata, drifts: Sequence[FeatureDrift], source: str) -> str:
    """A whole HTML document; ``drifts`` the strongest first, ``source``: where the rows came from."""
    title = f"Drift of {metadata.name} {metadata.version}"
    moved = [drift for drift in drifts if drift.level in ("some", "strong")]
    rows = drifts[0].rows if drifts else 0
    verdict = (
        f"{len(moved)} of {len(drifts)} features moved: PSI of {PSI_SOME} or more"
        if moved
        else f"no feature moved: every PSI is below {PSI_SOME}"
    )
    sections = [
        f'<p class="verdict {"bad" if moved else "good"}">{verdict}</p>',
        f"<h2>PSI by feature; from {PSI_SOME} on it moved, from {PSI_STRONG} on it is another population</h2>",
        pictures.bars({drift.name: drift.psi for drift in drifts}, "PSI by feature"),
        "<h2>Shares of the rows between the deciles of training</h2>",
        '<div class="row">',
        *(
            figure(
                f"{drift.name}: PSI {drift.psi:.3f}",
                pictures.distributions(drift.then, drift.now, bucket_names(drift)),
            )
            for drift in drifts[:PICTURES_MAX]
        ),
        "</div>",
        "<h2>All features</h2>",
        table(
            ["feature", "PSI", "KS", "drift", "unknown then", "unknown now"],
            [
                (d.name, f"{d.psi:.4f}", f"{d.ks:.4f}", d.level, f"{d.then[-1]:.2%}", f"{d.now[-1]:.2%}")
                for d in drifts
            ],
        ),
    ]
    return page(title, f"{source} · {rows:,} rows · learned from {metadata.training_data}", sections)


def bucket_names(drift: FeatureDrift) -> list[str]:
    """Below each bucket its upper border."""
    return [*(f"≤{edge:.3g}" for edge in drift.edges), "more", "NaN"]
