"""The configuration: frozen structs here, reading and checking in ``joulegate.config.load``."""

from joulegate.config.structs import (
    AttributionConfig,
    BudgetConfig,
    CarbonConfig,
    Config,
    EnergyConfig,
    LedgerConfig,
    ListenConfig,
    MatchConfig,
    ModelConfig,
    PlacesConfig,
    RespondConfig,
    RouteConfig,
    TaskConfig,
    TenantConfig,
    TimeoutConfig,
    UpstreamConfig,
)

__all__ = [
    "AttributionConfig",
    "BudgetConfig",
    "CarbonConfig",
    "Config",
    "EnergyConfig",
    "LedgerConfig",
    "ListenConfig",
    "MatchConfig",
    "ModelConfig",
    "PlacesConfig",
    "RespondConfig",
    "RouteConfig",
    "TaskConfig",
    "TenantConfig",
    "TimeoutConfig",
    "UpstreamConfig",
]
