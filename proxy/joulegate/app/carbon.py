"""Builds the carbon source that the configuration names."""

from joulegate import plugins
from joulegate.config import CarbonConfig
from joulegate.config.quantities import intensity_text
from joulegate.ports import CarbonSource


def carbon_source(config: CarbonConfig) -> CarbonSource | None:
    """Return what the configuration says of carbon; ``None`` if it says nothing."""
    name = "static" if config.intensity is not None else config.source
    intensity = intensity_text(config.intensity) if config.intensity is not None else None
    short = {"zone": config.zone, "intensity": intensity}
    given = {key: value for key, value in short.items() if value is not None}
    options = {**config.options.get(name, {}), **given}
    if name == "table" and not options:
        return None
    return plugins.build(plugins.CARBON, name, options)
