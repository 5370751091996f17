"""Trained models in use: prediction on frames, ensembles, a strategy, and the registry of every version."""

from hft_engine.models.ensemble import Ensemble
from hft_engine.models.entry_timing import EntryTimingModel
from hft_engine.models.manager import ModelManager, model_manager
from hft_engine.models.market_regime import EnhancedMarketRegimeModel
from hft_engine.models.peak_detection import PeakDetectionModel

__all__ = [
    "EnhancedMarketRegimeModel",
    "Ensemble",
    "EntryTimingModel",
    "ModelManager",
    "PeakDetectionModel",
    "model_manager",
]
