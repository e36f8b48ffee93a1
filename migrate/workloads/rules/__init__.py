"""The rules, in the order in which they run. docs/rules.md says how to write one."""

from migrate.workloads.engine import Rule
from migrate.workloads.rules import (
    builds,
    deployment_configs,
    fields,
    groups,
    hooks,
    image_streams,
    images,
    left_out,
    leftovers,
    metadata,
    network,
    old_apis,
    rbac,
    references,
    resources,
    routes,
    security,
    texts,
    triggers,
    volumes,
)

RULES: tuple[Rule, ...] = (
    *texts.RULES,
    *groups.RULES,
    *left_out.RULES,
    *metadata.RULES,
    *old_apis.RULES,
    *rbac.RULES,
    *leftovers.RULES,
    *deployment_configs.RULES_BEFORE,
    *hooks.RULES_BEFORE,
    *triggers.RULES_BEFORE_JOBS,
    *hooks.RULES_AFTER_IMAGES,
    *triggers.RULES,
    *deployment_configs.RULES,
    *image_streams.RULES,
    *builds.RULES,
    *images.RULES,
    *references.RULES,
    *volumes.RULES,
    *routes.RULES,
    *network.RULES,
    *resources.RULES,
    *security.RULES,
    *old_apis.RULES_AT_THE_END,
    *fields.RULES,
)
"""Left-outs before everything that looks at objects; triggers before the strategy goes, for hooks stand in it; names of
images after what decides which of them are placeholders."""
