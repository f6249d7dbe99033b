"""The built-in recommenders by name; more come by entry point through `autoscaler.plugins`."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.interfaces import Recommender
from autoscaler.recommend.crane import CraneRecommender
from autoscaler.recommend.hpa import HpaRecommender
from autoscaler.recommend.joint import JointRecommender
from autoscaler.recommend.keda import KedaRecommender
from autoscaler.recommend.krr import KrrRecommender
from autoscaler.recommend.mpa import HpaVpaRecommender, MpaRecommender
from autoscaler.recommend.phpa import PhpaRecommender
from autoscaler.recommend.season_floor import SeasonFloorRecommender
from autoscaler.recommend.vpa import VpaRecommender

BUILT_IN: Mapping[str, Recommender] = {
    engine.name: engine
    for engine in (
        JointRecommender(),
        HpaRecommender(),
        VpaRecommender(),
        MpaRecommender(),
        HpaVpaRecommender(),
        SeasonFloorRecommender(),
        KedaRecommender(),
        PhpaRecommender(),
        KrrRecommender(),
        CraneRecommender(),
    )
}
